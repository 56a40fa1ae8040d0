"""How many threads compute, and how they wait for each other."""

import os


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
    """Logical cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
