"""Speed of trainings that share the machine, under four settings of the threads, as JSON.

Two trainings at once, and one training beside busy processes.

    python benchmarks/side_by_side.py            # a few minutes on a quiet machine

Settings: "one thread" is what `make` gives every job; "library" is what every other entry point gives (half of the
cores, asleep while they wait, ssmde_lib/threads.py; on two cores that is one thread too); "asleep" is a thread a core,
asleep while they wait; "torch" is what torch does by itself. A job is a number of steps of the laptop profile's size;
`ratio_of_two` is the time of two jobs at once over that of one alone, which the goal limits to 2.2.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ssmde_lib.threads import limit_threads

CHOICES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS")  # what a user may have set
SETTINGS = {
    "one thread": {"OMP_NUM_THREADS": "1"},
    "library": {"SSMDE_SHARE": "1"},
    "asleep": {"OMP_WAIT_POLICY": "PASSIVE"},
    "torch": {},
}
GOAL = 2.2


def environment(setting: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if name not in CHOICES}
    return clean | SETTINGS[setting]


def start(setting: str, steps: int, limit: float) -> subprocess.Popen:
    words = [sys.executable, __file__, "--job", "--steps", str(steps), "--limit", str(limit)]
    return subprocess.Popen(words, env=environment(setting), stdout=subprocess.PIPE, text=True)


def job(steps: int, limit: float) -> dict:
    """Seconds of the steps after the first; `limit` ends a job that hardly moves."""
    if "SSMDE_SHARE" in os.environ:
        limit_threads()
    from step import make

    training = make(6, 64, 192, loss="full", network_width=24, channels_last=True)
    training.step()
    seconds, began = [], time.perf_counter()
    while len(seconds) < steps and time.perf_counter() - began < limit:
        before = time.perf_counter()
        training.step()
        seconds.append(time.perf_counter() - before)
    return {
        "steps": len(seconds),
        "step_s": sum(seconds) / len(seconds),
        "median_s": statistics.median(seconds),
        "worst_s": max(seconds),
    }


def together(setting: str, jobs: int, busy: int, steps: int, limit: float) -> dict:
    """The slowest of some jobs started at once, beside `busy` processes that only count."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        running = [start(setting, steps, limit) for _ in range(jobs)]
        reports = [json.loads(process.communicate()[0]) for process in running]
    finally:
        for other in others:
            other.kill()
            other.wait()
    return {name: round(value, 3) for name, value in max(reports, key=lambda report: report["step_s"]).items()}


@click.command()
@click.option("--steps", default=30, show_default=True)
@click.option("--limit", default=120.0, show_default=True, help="Seconds after which a job ends early.")
@click.option("--job", "is_job", is_flag=True, hidden=True)
def main(steps: int, limit: float, is_job: bool) -> None:
    if is_job:
        print(json.dumps(job(steps, limit)))
        return
    cores = len(os.sched_getaffinity(0))
    report = {"cores": cores, "load": os.getloadavg()[0], "goal_ratio_of_two": GOAL}
    for setting in SETTINGS:
        alone, two = together(setting, 1, 0, steps, limit), together(setting, 2, 0, steps, limit)
        facts = {"alone": alone, "two_at_once": two, "ratio_of_two": round(two["step_s"] / alone["step_s"], 2)}
        report[setting] = facts | {
            "beside_one_busy": together(setting, 1, 1, steps, limit),
            "beside_busy_cores": together(setting, 1, cores, steps, limit),
        }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
