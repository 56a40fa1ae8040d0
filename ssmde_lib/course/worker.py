"""Runs one function of a student in a process of its own, under limits of time, memory and files.

This keeps mistakes (endless loops, huge arrays) from the grader. It is no sandbox: code that means harm can still read
what the teacher's account can read. Grade strangers' code in a container.
"""

import json
import linecache
import os
import signal
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from ssmde_lib.course.bank import load_bank
from ssmde_lib.course.check import FAILED, PASSED, check
from ssmde_lib.course.exercise import Code

BANK = load_bank()  # loaded once, in the server that the processes are forked from
FILE_BYTES = 10 * 1024**2


def run(number: str, name: str, source: str, seconds: float, memory: int, connection: Connection) -> None:
    """Sends the result of an exercise as JSON: {"status", "text", "share"}.

    Args:
        number: the exercise.
        name, source: the student's function, and its source with what it uses.
        seconds, memory: limits of processor time and of additional memory in MiB.
    """
    os.setsid()  # so that what the function starts ends with it
    os.chdir(tempfile.gettempdir())
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 until the process ends
    limit(seconds, memory)
    connection.send_bytes(json.dumps(grade(number, name, source)).encode())


def limit(seconds: float, memory: int) -> None:
    """Limits of this process: processor seconds, MiB beyond what it has now (Linux only), bytes of a file."""
    import resource  # Unix alone has it

    signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF then ends the process
    limits = {resource.RLIMIT_FSIZE: FILE_BYTES}
    statm = Path("/proc/self/statm")
    if statm.exists():
        limits[resource.RLIMIT_AS] = int(statm.read_text().split()[0]) * resource.getpagesize() + memory * 1024**2
    for what, most in limits.items():
        resource.setrlimit(what, (most, most))


def grade(number: str, name: str, source: str) -> dict:
    """All visible cases right earn half of the points, all hidden ones the other half."""
    exercise = BANK[number]
    assert isinstance(exercise, Code)
    function, problem = define(name, source)
    if problem:
        return {"status": FAILED, "text": f"✗ {number} {name}: {problem}", "share": 0.0}
    public = exercise.public() | {"name": name, "hints": []}
    visible = check(public, function, exercise.cases(exercise.visible))
    if not visible:
        return {"status": visible.status, "text": visible.text, "share": 0.0}
    hidden = check(public, function, exercise.cases(exercise.hidden))
    if not hidden:
        return {
            "status": hidden.status,
            "text": f"{hidden.text}\n  This was a hidden case; the visible ones are right.",
            "share": 0.5,
        }
    return {"status": PASSED, "text": f"✓ {number} {name}: all cases right.", "share": 1.0}


def define(name: str, source: str):
    """The function, or None where it is not attempted; and what kept it from being defined."""
    scope = {"np": np, "__name__": "submission"}
    filename = f"<submission {name}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    try:
        exec(compile(source, filename, "exec"), scope)
    except (Exception, SystemExit) as error:
        return None, f"its definition raises {type(error).__name__}: {error}."
    return scope.get(name), ""
