"""The variants of the ablation: each is one training, defined by its differences to the base network."""

import dataclasses

from ssmde_lib.labels.filters import Filter

PRIOR = {"ranking": 0.1, "log_ratio": 0.5}  # as in notebook 06; a test holds the two together
DIRECT_POSE = {"direct_pose_iterations": 2}
CEILING = {"ceiling": 0.5, "rho": 0.94}
NORMALS = {"normal": 0.1, "edge_normal": 0.1}
STUDENT = {"distillation": 0.5}  # beside what the video teaches
LABELS_ALONE = {"distillation": 1.0, "photometric": 0.0, "geometry": 0.0}  # as in notebook 08
STUDENT_LONG = {"steps": 1000}  # labels that know more than the teacher take longer to learn
QUALITIES = {
    "in_domain": "upper bound: leres_small fine-tuned on the world's own training depth",
    "dinov2_small": "dinov2_small, zero-shot: a light head on a pretrained backbone",
    "leres_small": "leres_small, zero-shot",
    "degraded": "leres_small with blurred and distorted maps, as a less accurate prior",
}


@dataclasses.dataclass(frozen=True)
class Variant:
    """One configuration of the ablation.

    Attributes:
        title: description in the tables.
        losses: differences to the losses of the base network.
        architecture: differences to the architecture of the grid.
        quality: the prior, a key of QUALITIES.
        teacher: the variant whose filtered depth is the label.
        static_teacher: the variant whose depth begins multi-view labels where it agrees with the teacher's.
        filter: the mask filter of the labels.
        schedule: differences to the schedule of the grid.
    """

    title: str
    losses: dict
    architecture: dict = dataclasses.field(default_factory=dict)
    quality: str = "leres_small"
    teacher: str | None = None
    static_teacher: str | None = None
    filter: Filter | None = None
    schedule: dict = dataclasses.field(default_factory=dict)


def student(title: str, kind: str) -> Variant:
    """A student of the grid's teacher, whose labels pass the mask filter `kind`."""
    return Variant(title, STUDENT, teacher="teacher", filter=Filter(kind))


def multi_view_student(which: str, teacher: str) -> Variant:
    """A student of `teacher` by multi-view labels alone; a round after the first learns from a student."""
    return Variant(
        f"student, multi-view labels alone{which}",
        LABELS_ALONE,
        quality="dinov2_small",
        teacher=teacher,
        filter=Filter("multi_view"),
        schedule=STUDENT_LONG,
    )


SCHEDULES = {
    "constant": {"forgetting": "constant"},
    "exponential": {"forgetting": "exponential"},
    "linear": {"forgetting": "linear"},
    "keep_dynamic": {"forgetting": "exponential", "keep_dynamic": True},
}
LERES_SMALL_VARIANTS = {
    "constant": "prior",
    "exponential": "teacher",
    "linear": "linear",
    "keep_dynamic": "keep_dynamic",
}

VARIANTS = {
    "base": Variant("base: self-supervised only", {}),
    "base_direct_pose": Variant("base with direct pose refinement", DIRECT_POSE),
    "prior": Variant("+ prior, constant weight", PRIOR | SCHEDULES["constant"]),
    "teacher": Variant("+ forgetting factor: the teacher", PRIOR | SCHEDULES["exponential"]),
    "teacher_direct_pose": Variant(
        "the teacher with direct pose refinement", PRIOR | SCHEDULES["exponential"] | DIRECT_POSE
    ),
    "teacher_dinov2": Variant(
        "the teacher with direct pose refinement and prior dinov2_small",
        PRIOR | SCHEDULES["exponential"] | DIRECT_POSE,
        quality="dinov2_small",
    ),
    "teacher_ceiling": Variant(
        "teacher_dinov2 whose prior is forgotten sooner but for a ceiling",
        PRIOR | SCHEDULES["exponential"] | DIRECT_POSE | CEILING,
        quality="dinov2_small",
    ),
    "teacher_dinov2_keep_dynamic": Variant(
        "teacher_dinov2, forgetting on static pixels only",
        PRIOR | SCHEDULES["keep_dynamic"] | DIRECT_POSE,
        quality="dinov2_small",
    ),
    "keep_dynamic": Variant("+ forgetting factor on static pixels only", PRIOR | SCHEDULES["keep_dynamic"]),
    "linear": Variant("+ forgetting factor with linear decay", PRIOR | SCHEDULES["linear"]),
    "normals": Variant("the teacher with both normal terms", PRIOR | NORMALS),
    "student_unfiltered": student("student, no filter", "none"),
    "student_plain": student("student, filter plain", "plain"),
    "student_prior_order": student("student, filter prior_order", "prior_order"),
    "student_prior_depth": student("student, filter prior_depth", "prior_depth"),
    "student_min_depth": student("student, filter min_depth", "min_depth"),
    "student_labels": Variant(
        "student, filter min_depth, labels alone", LABELS_ALONE, teacher="teacher", filter=Filter("min_depth")
    ),
    "student_multi_view": multi_view_student("", "teacher_dinov2"),
    "student_two_teachers": dataclasses.replace(
        multi_view_student(", two teachers", "teacher_dinov2"), static_teacher="base_direct_pose"
    ),
    "student_round_2": multi_view_student(", second round", "student_multi_view"),
    "student_round_3": multi_view_student(", third round", "student_round_2"),
    "multi_resolution": Variant("comparison method: multi-resolution distillation", {"multi_resolution": 0.1}),
    "successive": Variant(
        "comparison method: successive depth maps, dense skips",
        {"successive": 0.1, "photometric_scales": 1},
        {"skips": "dense"},
    ),
    "consistency": Variant(
        "comparison method: EMA teacher, filtered", {"distillation": 0.02, "teacher": "ema", "filter": "plain"}
    ),
}
VARIANTS |= {
    f"{quality}_{schedule}": Variant(
        f"{quality.replace('_', '-')} prior, {schedule.replace('_', ' ')}", PRIOR | change, quality=quality
    )
    for quality in ("in_domain", "dinov2_small", "degraded")
    for schedule, change in SCHEDULES.items()
}
# {quality: {schedule: variant}}; without a prior the variant is the base network for every quality.
MAP = {
    quality: {s: LERES_SMALL_VARIANTS[s] if quality == "leres_small" else f"{quality}_{s}" for s in SCHEDULES}
    | {"off": "base"}
    for quality in QUALITIES
}
# Twice the steps of the laptop grid: the dynamic error of the base network grows with training.
LONG = {"steps": 2000}
VARIANTS |= {
    f"long_{name}": dataclasses.replace(VARIANTS[name], title=f"{VARIANTS[name].title}, twice as long", schedule=LONG)
    for name in ("base", "teacher")
}
VARIANTS["long_student_prior_order"] = dataclasses.replace(
    VARIANTS["student_prior_order"], title="student of long_teacher, filter prior_order", teacher="long_teacher"
)
SCRATCH = {"encoder": "resnet"}
VARIANTS |= {
    f"scratch_{name}": dataclasses.replace(
        VARIANTS[name],
        title=f"{VARIANTS[name].title}, from random weights",
        architecture=SCRATCH,
        teacher=VARIANTS[name].teacher and f"scratch_{VARIANTS[name].teacher}",
    )
    for name in ("base", "prior", "teacher", "student_prior_order")
}
