"""Which mask filter makes a student's labels."""

import dataclasses

from ssmde_lib.labels.filters import known_kind


@dataclasses.dataclass(frozen=True)
class Filter:
    """The multi-view mask filter. `kind`: "none", "plain" (forward-backward consistency), "prior_order" (or the prior's order
    agrees), "prior_depth" (and the prior's depth agrees) or "min_depth" (where the views reject, the nearer of teacher and prior);
    `threshold`: relative error, or 0 for the image's mean error (SRD-Depth)."""

    kind: str = "prior_order"
    threshold: float = 0.0

    def __post_init__(self) -> None:
        known_kind(self.kind)
