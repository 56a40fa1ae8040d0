"""The rows of the ablation: one row is one training, and says only what differs from the base network's defaults."""

import dataclasses

from ssmde_lib.labels.filters import Filter

PRIOR = {"ranking": 0.1, "log_ratio": 0.5}  # as in notebook 06; a test holds the two together
NORMALS = {"normal": 0.1, "edge_normal": 0.1}
STUDENT = {"distillation": 0.5}  # as in notebook 08
LABELS_ALONE = {"distillation": 1.0, "photometric": 0.0, "geometry": 0.0}
QUALITIES = {
    "in_domain": "upper bound: leres_small fine-tuned on the world's own training depth",
    "leres_small": "leres_small, zero-shot",
    "degraded": "stand-in for a poor prior: leres_small, blurred and bent",
}


@dataclasses.dataclass(frozen=True)
class Variant:
    """One configuration of the ablation.

    It says what differs from the base network's losses and architecture, and whose filtered depth is the label.

    `quality` names the prior that it listens to, `teacher` the row that teaches it, `schedule` what it changes of the
    grid's.
    """

    title: str
    losses: dict
    architecture: dict = dataclasses.field(default_factory=dict)
    quality: str = "leres_small"
    teacher: str | None = None
    filter: Filter | None = None
    schedule: dict = dataclasses.field(default_factory=dict)


def student(title: str, kind: str) -> Variant:
    return Variant(title, STUDENT, teacher="teacher", filter=Filter(kind))


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
    "prior": Variant("+ prior, constant weight", PRIOR | SCHEDULES["constant"]),
    "teacher": Variant("+ forgetting factor: the teacher", PRIOR | SCHEDULES["exponential"]),
    "keep_dynamic": Variant("+ forgetting on static pixels only", PRIOR | SCHEDULES["keep_dynamic"]),
    "linear": Variant("+ linear forgetting", PRIOR | SCHEDULES["linear"]),
    "normals": Variant("the teacher with both normal terms", PRIOR | NORMALS),
    "student_unfiltered": student("student, no filter", "none"),
    "student_plain": student("student, multi-view filter", "plain"),
    "student_prior_order": student("student, filter or the prior's order", "prior_order"),
    "student_prior_depth": student("student, filter and the prior's depth", "prior_depth"),
    "student_min_depth": student("student, the nearer of teacher and prior where the views reject", "min_depth"),
    "student_labels": Variant(
        "the same, from the labels alone", LABELS_ALONE, teacher="teacher", filter=Filter("min_depth")
    ),
    "multi_resolution": Variant("neighbour: multi-resolution distillation", {"multi_resolution": 0.1}),
    "successive": Variant(
        "neighbour: successive depth maps, dense skips",
        {"successive": 0.1, "photometric_scales": 1},
        {"skips": "dense"},
    ),
    "consistency": Variant(
        "neighbour: EMA teacher, filtered", {"distillation": 0.02, "teacher": "ema", "filter": "plain"}
    ),
}
VARIANTS |= {
    f"{quality}_{schedule}": Variant(
        f"{quality.replace('_', '-')} prior, {schedule.replace('_', ' ')}", PRIOR | change, quality=quality
    )
    for quality in ("in_domain", "degraded")
    for schedule, change in SCHEDULES.items()
}
# When to forget: {quality: {schedule: row}}; a prior that is off is the same base network whatever its quality.
MAP = {
    quality: {s: LERES_SMALL_VARIANTS[s] if quality == "leres_small" else f"{quality}_{s}" for s in SCHEDULES}
    | {"off": "base"}
    for quality in QUALITIES
}
# The same, twice as long as the laptop grid's rows: the disease needs time.
LONG = {"steps": 2000}
VARIANTS |= {
    f"long_{name}": dataclasses.replace(VARIANTS[name], title=f"{VARIANTS[name].title}, twice as long", schedule=LONG)
    for name in ("base", "teacher")
}
VARIANTS["long_student_prior_order"] = dataclasses.replace(
    VARIANTS["student_prior_order"], title="its student, filter or the prior's order", teacher="long_teacher"
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
