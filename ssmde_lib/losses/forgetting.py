"""The forgetting factor: the prior's weight as training goes on (SS-MDE's abstract; the schedules are ours)."""

from ssmde_lib.errors import UserError


def forgetting_factor(progress: float, kind: str = "exponential", rho: float = 0.97, epochs: float = 100) -> float:
    """Weight of the prior's losses at `progress` in [0, 1] of the training.

    exponential: rho^(epochs progress), 0.97^100 = 0.048 at the end, whatever the number of steps; linear: 1 to 0;
    constant: 1; off: 0.

    >>> round(forgetting_factor(0.5), 3)
    0.218
    """
    schedules = {"exponential": rho ** (epochs * progress), "linear": 1 - progress, "constant": 1.0, "off": 0.0}
    if kind not in schedules:
        raise UserError(f"unknown forgetting schedule {kind!r}: choose one of {', '.join(schedules)}.")
    if not 0 <= progress <= 1:
        raise UserError(f"progress {progress} is outside of [0, 1]: pass step / steps.")
    return schedules[kind]
