"""How many threads compute, and how they wait for each other."""

import os
from math import ceil, inf
from pathlib import Path


def limit_threads() -> None:
    """Give OpenMP half of the cores, as threads that sleep while they wait, unless the user has chosen.

    It must be called before torch is imported.

    By default there are as many threads as cores and they spin: beside another busy process they take the core from the
    very thread that they wait for, and a step of 0.2 s takes half a minute. Asleep, both threads of two cores are
    slower than one that need not wait (both: benchmarks/side_by_side.py). With half of the cores two jobs fit side by
    side.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // 2)))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def cores() -> int:
    """Logical cores that this process may use: by its affinity, and by the quota of its control group (containers)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, ceil(min(allowed, quota())))


def quota(groups: Path = Path("/sys/fs/cgroup")) -> float:
    """Cores that the control group grants, infinite without a limit (Linux: cgroup v2's cpu.max, v1's cfs_quota_us)."""
    try:
        if (groups / "cpu.max").is_file():
            granted, period = (groups / "cpu.max").read_text().split()
        else:
            granted, period = ((groups / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return float(granted) / float(period) if float(granted) > 0 else inf
    except (OSError, ValueError):  # no such limit, or "max"
        return inf
