"""A job in a process of its own, so that its peak memory is its own too."""

import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context


def alone(job: Callable[..., dict], *arguments) -> dict:
    """What the job reports, and the peak memory of its process in MiB."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(with_peak, job, *arguments).result()


def with_peak(job: Callable[..., dict], *arguments) -> dict:
    facts = job(*arguments)
    return facts | {"peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}
