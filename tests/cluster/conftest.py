"""A SLURM cluster of one node, this machine, for `make test-cluster`: apart from the other tests, as root on Debian.

Its files lie in /etc/slurm, where the programs look that a job starts: what tells of another place is not passed on.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SETTINGS = Path("/etc/slurm")
PROGRAMS = ("munged", "slurmctld", "slurmd")
# More cores and memory than are there, so that the profile's jobs fit; one GPU, which is a device that holds nothing.
SLURM = """
ClusterName=one-node
SlurmctldHost={host}(127.0.0.1)
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
KillWait=30
MinJobAge=3600
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=128000 Gres=gpu:1
PartitionName=cpu Nodes=ALL Default=YES
PartitionName=gpu Nodes=ALL
"""
GPU = "AutoDetect=off\nName=gpu File=/dev/null\n"
# Which jobs go where; the plugin reads it where SNAKEMAKE_SLURM_PARTITIONS says.
PARTITIONS = """
partitions:
  cpu: {max_runtime: 1440, max_mem_mb: 128000, max_threads: 16}
  gpu: {max_runtime: 1440, max_mem_mb: 128000, max_threads: 16, max_gpu: 1}
"""


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Iterator[dict[str, str]]:
    """The environment of someone who submits jobs to it."""
    if os.getuid() or not all(map(shutil.which, PROGRAMS)):
        pytest.skip("needs root and SLURM (on Debian: apt-get install slurm-wlm munge)")
    if (SETTINGS / "slurm.conf").exists():
        pytest.skip(f"{SETTINGS}/slurm.conf exists: this machine belongs to a cluster")
    folder = tmp_path_factory.mktemp("slurm")
    for parent in (folder, folder.parent, folder.parent.parent):
        parent.chmod(0o755)  # munge runs as a user of its own
    for name in ("state", "spool"):
        (folder / name).mkdir()
    shutil.chown(folder, "munge")
    (folder / "partitions.yaml").write_text(PARTITIONS)
    (SETTINGS / "slurm.conf").write_text(SLURM.format(host=socket.gethostname(), folder=folder))
    (SETTINGS / "gres.conf").write_text(GPU)
    files = {"socket": "socket", "log-file": "log", "pid-file": "pid", "seed-file": "seed"}
    munged = " ".join(["munged", *(f"--{option}={folder}/munge.{name}" for option, name in files.items())])
    try:
        subprocess.run(["su", "--shell=/bin/sh", "munge", f"--command={munged}"], check=True)
        for program in ("slurmctld", "slurmd"):
            subprocess.run([program], check=True)
        wait_for(lambda: "idle" in output("sinfo", "--noheader", "--format=%t"))
        yield {"SNAKEMAKE_SLURM_PARTITIONS": str(folder / "partitions.yaml"), "OMP_WAIT_POLICY": "PASSIVE"}
    finally:
        for name in ("slurmd", "slurmctld", "munge"):
            stop(folder / f"{name}.pid")
        for name in ("slurm.conf", "gres.conf"):
            (SETTINGS / name).unlink()


def output(*words: str) -> str:
    """What a program prints."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def stop(pid: Path) -> None:
    """End the daemon that wrote this file, if it did, and wait for its end."""
    if pid.is_file():
        number = int(pid.read_text())
        os.kill(number, 15)
        wait_for(lambda: not Path(f"/proc/{number}").exists())


def wait_for(condition, seconds: float = 60) -> None:
    """Until it holds; TimeoutError if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {condition}")
        time.sleep(0.5)
