"""The grid of the ablation (one profile of workflow/ablation.yaml): its jobs, their settings, which are finished.

Everything made lies in a folder whose name ends with the hash of the settings that made it, so that nothing is ever
taken for something else; what is committed, the record of a job, holds its settings and is stale when they are no
longer those asked for.
"""

import dataclasses
import hashlib
import json
from functools import cached_property
from pathlib import Path

import yaml

from ssmde_lib.ablation.priors import PRIORS
from ssmde_lib.ablation.records import read_records
from ssmde_lib.ablation.variants import VARIANTS, Variant
from ssmde_lib.errors import UserError
from ssmde_lib.labels.filters import MULTI_VIEW
from ssmde_lib.labels.multi_view import RECIPE
from ssmde_lib.losses.config import Losses
from ssmde_lib.networks.architecture import Architecture
from ssmde_lib.options import from_options
from ssmde_lib.prior.degraded import Degradation
from ssmde_lib.prior.in_domain import FineTuning
from ssmde_lib.training.schedule import NO_EFFECT, Schedule

NOT_DATA = ("variants", "protocol", "frame_stride", "label_scale")  # fields of a world on which its data do not depend


@dataclasses.dataclass(frozen=True)
class World:
    """A data set of the grid: an embedded world, or one clip of real video in `folder`, relative to the repository."""

    name: str
    height: int
    width: int
    protocol: str = "embedded"
    seed: int = 0
    clips: dict | None = None  # {split: clips} of an embedded world
    frames: int = 50
    test_frames: int = 24
    folder: str = ""
    tracklets: str = ""
    frame_stride: int = 1  # distance of the source frames to the target, in frames
    label_scale: int = 1  # labels from many views are made of pictures so many times as large
    variants: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Job:
    """One training of the grid."""

    world: str
    variant: str
    seed: int

    def __str__(self) -> str:
        return f"{self.world}/{self.variant}_seed{self.seed}"


@dataclasses.dataclass
class Grid:
    """The grid `profile` of a repository.

    `spec` is its section of workflow/ablation.yaml, `runs` the folder of all runs.

    Raises UserError for an unknown world, row or option.
    """

    profile: str
    root: Path
    runs: Path
    spec: dict

    @classmethod
    def read(cls, profile: str, root: Path, runs: Path) -> "Grid":
        """The grid that workflow/ablation.yaml calls `profile`."""
        profiles = yaml.safe_load((root / "workflow" / "ablation.yaml").read_text())
        if profile not in profiles:
            raise UserError(f"the ablation has no profile {profile!r}: choose one of {', '.join(profiles)}.")
        return cls(profile, root, runs, profiles[profile])

    def __post_init__(self):
        known = {"version", "seeds", "worlds", "schedule", "student", "architecture", "in_domain"}
        if extra := set(self.spec) - known:
            raise UserError(
                f"profile {self.profile} of the ablation has unknown keys {sorted(extra)}: "
                f"choose among {sorted(known)}."
            )
        for world in self.worlds.values():
            for variant in world.variants:
                self.variant(variant)

    @cached_property
    def worlds(self) -> dict[str, World]:
        """The data sets of this profile, by name."""
        return {name: from_options(World, {"name": name} | options) for name, options in self.spec["worlds"].items()}

    def world(self, name: str) -> World:
        """The data set `name`; UserError with the known names otherwise."""
        if name not in self.worlds:
            raise UserError(
                f"profile {self.profile} of the ablation has no world {name!r}: choose one of {', '.join(self.worlds)}."
            )
        return self.worlds[name]

    @staticmethod
    def variant(name: str) -> Variant:
        """The variant `name`; UserError with the known names otherwise."""
        if name not in VARIANTS:
            raise UserError(f"unknown variant {name!r} of the ablation: choose one of {', '.join(VARIANTS)}.")
        return VARIANTS[name]

    def check(self, job: Job) -> None:
        """UserError where the grid has no such world, or the ablation no such variant."""
        self.world(job.world)
        self.variant(job.variant)

    @property
    def absent(self) -> dict[str, str]:
        """{world: why it is left out} of the real clips that do not lie here."""
        missing = {
            world.name: self.root / world.folder
            for world in self.worlds.values()
            if world.folder and not (self.root / world.folder).is_dir()
        }
        return {
            name: f"{name} is left out: {folder} does not exist; put the clip there (docs/data.md)."
            for name, folder in missing.items()
        }

    @cached_property
    def jobs(self) -> list[Job]:
        """Every job of the worlds that are here, in the order of execution, a teacher before its students."""
        found = []
        for world in self.worlds.values():
            if world.name in self.absent:
                continue
            for seed in self.spec["seeds"]:
                for variant in world.variants:
                    job = Job(world.name, variant, seed)
                    for teacher in self.teachers_of(job):
                        if teacher not in found:
                            raise UserError(
                                f"variant {variant!r} of world {world.name} learns from {teacher.variant!r}: "
                                "list that before it."
                            )
                    found.append(job)
        return sorted(found, key=lambda job: self.worlds[job.world].variants.index(job.variant))

    def teachers_of(self, job: Job) -> list[Job]:
        """The jobs whose networks the job's labels are made with: none, its teacher, or that and a static one."""
        variant = VARIANTS[job.variant]
        names = (variant.teacher, variant.static_teacher)
        return [dataclasses.replace(job, variant=name) for name in names if name]

    # ---- settings: all that a result depends on, as JSON ----

    def losses(self, job: Job) -> Losses:
        """The losses of the job's variant."""
        return Losses(**VARIANTS[job.variant].losses)

    def schedule(self, job: Job) -> Schedule:
        """The grid's; students may have their own, and so may a row. Forty lines of log, whatever the length."""
        options = self.spec.get("schedule", {})
        if VARIANTS[job.variant].teacher:
            options = options | {
                key: value for key, value in self.spec.get("student", {}).items() if key != "warm_start"
            }
        schedule = from_options(Schedule, options | VARIANTS[job.variant].schedule)
        return dataclasses.replace(schedule, log_every=max(1, schedule.steps // 40))

    def architecture(self, job: Job) -> Architecture:
        """The networks of the grid, with what the variant changes."""
        return from_options(Architecture, self.spec.get("architecture", {}) | VARIANTS[job.variant].architecture)

    def warm_start(self, job: Job) -> bool:
        """Whether the training starts from the teacher's weights."""
        return bool(VARIANTS[job.variant].teacher) and self.spec.get("student", {}).get("warm_start", False)

    def data_settings(self, world: str) -> dict:
        """All that the data of a world depends on."""
        facts = differing(self.world(world))
        return {key: value for key, value in facts.items() if key not in NOT_DATA} | {
            "version": self.spec.get("version", 1)
        }

    def prior_settings(self, world: str, quality: str) -> dict:
        """Where the prior's maps come from: the bundled weights, and the changes to them or to their maps."""
        facts = PRIORS[quality].describe() | {"quality": quality}
        if quality == "degraded":
            facts["degradation"] = dataclasses.asdict(Degradation())
        if quality == "in_domain":
            facts["fine_tuning"] = dataclasses.asdict(self.fine_tuning)
        return facts

    @property
    def fine_tuning(self) -> FineTuning:
        """Options of the in-domain prior."""
        return from_options(FineTuning, self.spec.get("in_domain", {}))

    def settings(self, job: Job) -> dict:
        """All that a job's result depends on, its teacher's settings included."""
        variant, schedule = VARIANTS[job.variant], differing(self.schedule(job))
        scale, digests = self.label_scale(job), [digest(self.settings(teacher)) for teacher in self.teachers_of(job)]
        labels = {"labels": RECIPE | {"scale": scale}} if scale else {}
        return {
            "losses": differing(self.losses(job)),
            "schedule": {key: value for key, value in schedule.items() if key not in NO_EFFECT},
            "architecture": differing(self.architecture(job)),
            "data": self.data_settings(job.world),
            "protocol": self.world(job.world).protocol,
            "frame_stride": self.world(job.world).frame_stride,
            "prior": self.prior_settings(job.world, variant.quality) if self.needs_prior(job) else None,
            "filter": dataclasses.asdict(variant.filter) if variant.filter else None,
            "warm_start": self.warm_start(job),
            "teacher": None,
            **dict(zip(("teacher", "static_teacher"), digests, strict=False)),
            **labels,
        }

    def label_scale(self, job: Job) -> int:
        """How many times as large as the training's the pictures are of which the job's labels are made.

        0 without labels from many views.
        """
        kind = VARIANTS[job.variant].filter
        return self.world(job.world).label_scale if kind and kind.kind == MULTI_VIEW else 0

    def needs_prior(self, job: Job) -> bool:
        """Whether the losses or the mask filter of the job read the prior's maps."""
        variant = VARIANTS[job.variant]
        return self.losses(job).uses_prior or bool(variant.filter and variant.filter.uses_prior)

    # ---- where things lie ----

    def data_folder(self, world: str) -> Path:
        """Where the clips of a world lie."""
        return self.runs / "ablation" / f"{world}-{digest(self.data_settings(world))}" / "data"

    def pictures_folder(self, world: str) -> Path:
        """Where the training clips lie at `label_scale` times the size."""
        return self.data_folder(world).with_name(f"pictures_x{self.world(world).label_scale}")

    def prior_folder(self, world: str) -> Path:
        """Of the fine-tuned weights of the in-domain prior."""
        return self.data_folder(world).parent / f"prior_in_domain-{digest(self.prior_settings(world, 'in_domain'))}"

    def pseudo_folder(self, world: str, quality: str) -> Path:
        """Where the prior's maps of a world lie, by the quality of the prior."""
        return self.data_folder(world).parent / f"pseudo_{quality}-{digest(self.prior_settings(world, quality))}"

    def folder(self, job: Job) -> Path:
        """Of a job's training: weights, log, state; of its own settings only."""
        return self.data_folder(job.world).parent / f"{job.variant}_seed{job.seed}-{digest(self.settings(job))}"

    @property
    def results(self) -> Path:
        """Where the records are committed."""
        return self.root / "results" / "ablation" / self.profile

    def record_path(self, job: Job) -> Path:
        """Of the record that is committed."""
        return self.results / job.world / f"{job.variant}_seed{job.seed}.json"

    # ---- what is done ----

    def changes(self, job: Job) -> list[str] | None:
        """What was asked for differently when the record was made, in words.

        [] of a finished job, None without a record.
        """
        path = self.record_path(job)
        if not path.is_file():
            return None
        was, asked = flat(json.loads(path.read_text())["settings"]), flat(json.loads(json.dumps(self.settings(job))))
        return [
            f"{key} {was.get(key)!r} → {asked.get(key)!r}"
            for key in sorted(was.keys() | asked.keys())
            if was.get(key) != asked.get(key)
        ]

    def unfinished(self) -> list[Job]:
        """Jobs without a record, and those whose record is stale."""
        return [job for job in self.jobs if self.changes(job) != []]

    def records(self, world: str) -> list[dict]:
        """The records of a world as `read_records` gives them, without the stale ones (made with other settings)."""
        found = read_records(self.results / self.world(world).name)
        return [
            record
            for record in found
            if record["seed"] is None or not self.changes(Job(world, record["variant"], record["seed"]))
        ]

    def stale(self) -> dict[Job, list[str]]:
        """The jobs whose record was made with other settings, with the differences in words."""
        return {job: changes for job in self.jobs if (changes := self.changes(job))}


def differing(config) -> dict:
    """The fields of a configuration that differ from their defaults.

    Thus a new field whose default changes nothing leaves the records valid.
    """
    return {f.name: value for f in dataclasses.fields(config) if (value := getattr(config, f.name)) != f.default}


def digest(settings: dict) -> str:
    """Ten hexadecimal digits that name settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:10]


def flat(settings: dict, prefix: str = "") -> dict:
    """{"losses.ranking": 0.1, …}"""
    found = {}
    for key, value in settings.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found
