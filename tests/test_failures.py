"""Bad input and accidents in notebooks: one clear sentence, a non-zero exit code, and the finished stages survive."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import tiny_tutorial
from tiny_tutorial import FIRST, SECOND, command, manifest, run, snakemake, write_tutorial

from ssmde_lib.errors import UserError
from ssmde_lib.pipeline.execution import run_notebook
from ssmde_lib.pipeline.manifest import read_manifest
from ssmde_lib.pipeline.opening import begin
from ssmde_lib.threads import cores

COMMON = {"run": "laptop", "profile": "laptop", "retrain": False, "seed": 0}


def sentence(done: subprocess.CompletedProcess) -> str:
    """The last line of what a failed command said: one sentence, no traceback."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A tutorial whose first stage is finished; tests must not change it."""
    root = write_tutorial(tmp_path_factory.mktemp("finished"))
    assert run(root, "00_first").returncode == 0
    return root


@pytest.fixture
def tutorial(finished, tmp_path) -> Path:
    """A copy of it to break."""
    root = tmp_path / "copy"
    subprocess.run(["cp", "-a", finished, root], check=True)
    return root


class TestParameters:
    def test_a_typo_names_the_nearest(self, finished):
        assert "did you mean 'factor'?" in sentence(run(finished, "01_second", "-p", "facter", "2"))
        assert manifest(finished, "00_first", "laptop")

    def test_a_wrong_type(self, finished):
        assert "parameter factor must be float, not 'much'" in sentence(
            run(finished, "01_second", "-p", "factor", "much")
        )
        assert "parameter seed must be int, not '1.5'" in sentence(run(finished, "01_second", "-p", "seed", "1.5"))

    def test_a_run_name_that_leaves_the_folder(self, finished):
        assert "plain folder name" in sentence(run(finished, "01_second", "--run", "../elsewhere"))

    def test_unknown_notebook_and_profile(self, finished):
        assert "did you mean '01_second'?" in sentence(run(finished, "01_secnod"))
        assert "did you mean 'smoke'?" in sentence(run(finished, "01_second", "--profile", "smok"))

    def test_a_typo_in_a_profile_stops_the_workflow_before_it_starts(self, tutorial):
        (tutorial / "configs" / "smoke.yaml").write_text("01_second: {facter: 2}")
        done = snakemake(tutorial)
        assert done.returncode == 1
        assert "did you mean 'factor'?" in done.stderr
        assert not (tutorial / "runs" / "smoke").exists()

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (("facter", "2.0"), "did you mean 'factor'?"),
            (("factor", "much"), "must be float"),
            (("seed", "1.5"), "must be int"),
        ],
    )
    def test_plain_papermill_too(self, finished, given, message):
        done = command(finished, "papermill", "notebooks/01_second.ipynb", os.devnull, "-p", *given)
        assert done.returncode == 1
        assert message in done.stderr.strip().splitlines()[-1]


class TestStages:
    def test_a_missing_upstream_stage(self, finished):
        done = run(finished, "01_second", "--run", "other")
        assert "stage 00_first of run 'other' is missing" in sentence(done)
        assert "execute notebooks/00_first.ipynb" in sentence(done)

    def test_a_corrupt_artifact(self, tutorial):
        (tutorial / "runs/laptop/00_first/numbers.json").write_text("[9, 1, 2, 3]")
        assert "numbers.json is corrupt" in sentence(run(tutorial, "01_second"))

    def test_a_truncated_a_missing_and_a_touched_artifact(self, tutorial):
        stage = tutorial / "runs/laptop/00_first"
        (stage / "numbers.json").touch()
        assert read_manifest(stage)["stage"] == "00_first"
        (stage / "numbers.json").write_text("[0, 1")
        with pytest.raises(UserError, match=r"numbers\.json is corrupt"):
            read_manifest(stage)
        (stage / "numbers.json").unlink()
        with pytest.raises(UserError, match=r"numbers\.json is missing"):
            read_manifest(stage)
        (stage / "stage.json").write_text("{")
        with pytest.raises(UserError, match="not a stage manifest"):
            read_manifest(stage)

    def test_an_undeclared_upstream_stage(self, tutorial, monkeypatch):
        monkeypatch.chdir(tutorial / "notebooks")
        monkeypatch.delenv("SSMDE_RUNS", raising=False)
        stage = begin("01_second", COMMON | {"factor": 1.0})
        assert stage.upstream("00_first") == tutorial / "runs/laptop/00_first"
        with pytest.raises(UserError, match="does not declare that it reads 01_second"):
            stage.upstream("01_second")

    def test_a_stage_made_from_an_older_one(self, tutorial, monkeypatch):
        monkeypatch.chdir(tutorial)
        monkeypatch.delenv("SSMDE_RUNS", raising=False)
        (tutorial / "notebooks/pipeline.yaml").write_text(
            "00_first: []\n01_second: [00_first]\n02_third: [00_first, 01_second]\n"
        )
        (tutorial / "notebooks/02_third.ipynb").write_bytes((tutorial / "notebooks/00_first.ipynb").read_bytes())
        begin("01_second", COMMON | {"factor": 1.0}).finish()
        begin("02_third", COMMON | {"count": 1})
        begin("00_first", COMMON | {"count": 5}).finish()
        with pytest.raises(UserError, match="01_second was made from another 00_first"):
            begin("02_third", COMMON | {"count": 1})

    def test_bad_parameters_leave_the_finished_stage_alone(self, tutorial, monkeypatch):
        monkeypatch.chdir(tutorial)
        monkeypatch.delenv("SSMDE_RUNS", raising=False)
        with pytest.raises(UserError, match="count must be int, not True"):
            begin("00_first", COMMON | {"count": True})
        assert read_manifest(tutorial / "runs/laptop/00_first")

    def test_an_unfinished_attempt_stays_only_if_it_was_at_the_same(self, tutorial, monkeypatch):
        monkeypatch.chdir(tutorial)
        monkeypatch.delenv("SSMDE_RUNS", raising=False)
        parameters = COMMON | {"count": 1}
        first = begin("00_first", parameters)
        assert not (first.folder / "numbers.json").exists()  # the finished result was replaced
        (first.folder / "state").write_text("half-way")
        assert (begin("00_first", parameters).folder / "state").exists()
        assert not (begin("00_first", parameters | {"seed": 1}).folder / "state").exists()


class TestAccidents:
    def test_an_assertion_names_its_cell(self, tmp_path):
        root = write_tutorial(tmp_path / "tiny", ["assert 1 + 1 == 3, 'sums are wrong'"])
        message = sentence(run(root, "00_first"))
        assert "failed with AssertionError: sums are wrong" in message
        executed = root / "runs/laptop/notebooks/00_first.ipynb"
        assert str(executed) in message
        assert "sums are wrong" in executed.read_text()
        assert not (root / "runs/laptop/00_first/stage.json").exists()

    def test_a_user_error_is_the_sentence(self, tmp_path):
        body = ["from ssmde_lib.errors import UserError\nraise UserError('the folder is empty: choose another.')"]
        root = write_tutorial(tmp_path / "tiny", body)
        assert sentence(run(root, "00_first")).startswith("Error: 00_first: the folder is empty: choose another.")
        done = command(root, "papermill", "notebooks/00_first.ipynb", os.devnull)
        assert done.stderr.strip().splitlines()[-1] == "UserError: the folder is empty: choose another."

    def test_a_killed_kernel_asks_about_memory(self, tmp_path):
        root = write_tutorial(tmp_path / "tiny", ["import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"])
        assert "the kernel was killed: out of memory?" in sentence(run(root, "00_first"))
        assert command(root, "papermill", "notebooks/00_first.ipynb", os.devnull).returncode == 138

    def test_system_exit_is_no_success(self, tmp_path):
        root = write_tutorial(tmp_path / "tiny", ["raise SystemExit"])
        assert "00_first ended before stage.finish(...)" in sentence(run(root, "00_first"))

    def test_a_failure_keeps_the_finished_stages_and_the_next_run_goes_on(self, tmp_path):
        root = write_tutorial(tmp_path / "tiny", FIRST, [*SECOND, "assert not (stage.root / 'fail').exists()"])
        (root / "fail").touch()
        assert snakemake(root).returncode == 1
        first = manifest(root, "00_first")
        assert "AssertionError" in (root / "runs/smoke/notebooks/01_second.ipynb").read_text()
        (root / "fail").unlink()
        assert snakemake(root).returncode == 0
        assert manifest(root, "00_first") == first
        assert manifest(root, "01_second")["metrics"] == {"total": 12}
        assert "Nothing to be done" in snakemake(root).stderr

    def test_a_full_disk_at_a_stages_output(self, tmp_path):
        """A size limit on files stands in for the disk: it makes writes fail likewise, without being root."""
        body = [
            "import resource\nif (stage.root / 'full').exists():\n    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, "
            "1000))",
            "(stage.folder / 'numbers.json').write_text(5000 * '1')",
        ]
        root = write_tutorial(tmp_path / "tiny", body)
        (root / "full").touch()
        message = sentence(run(root, "00_first"))
        assert "File too large" in message and "free some space and execute it again" in message
        (root / "full").unlink()
        assert run(root, "00_first").returncode == 0
        assert manifest(root, "00_first", "laptop")["outputs"]["numbers.json"]["bytes"] == 5000

    def test_a_full_disk_at_the_executed_notebook(self, tmp_path, monkeypatch):
        """A stand-in for Papermill, which writes the notebook after each cell."""
        import papermill

        def full(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(papermill, "execute_notebook", full)
        monkeypatch.chdir(write_tutorial(tmp_path / "tiny"))
        with pytest.raises(
            UserError, match=r"00_first\.ipynb could not be written \(No space left on device\): free some"
        ):
            run_notebook("00_first", {})

    def test_a_kernel_that_has_done_its_work_is_not_interrupted(self, tutorial, monkeypatch):
        """It would complain of it, now and then with a traceback."""

        async def interrupted(self):
            raise AssertionError("the kernel was interrupted")

        monkeypatch.chdir(tutorial)
        monkeypatch.setattr("jupyter_client.AsyncKernelManager._async_interrupt_kernel", interrupted)
        (tutorial / "runs/laptop/00_first/stage.json").unlink()
        run_notebook("00_first", {})
        assert manifest(tutorial, "00_first", "laptop")

    def test_a_kernel_that_does_not_come_up_is_started_anew(self, tmp_path):
        """The kernel's command fails at first, as it does when another kernel has drawn its port."""
        root = write_tutorial(tmp_path / "tiny")
        start = (
            f"import os, sys\nif os.path.exists({str(root / 'race')!r}):\n    os.remove({str(root / 'race')!r})\n"
            "    sys.exit(1)\n"
        )
        start += "from ipykernel.kernelapp import launch_new_instance\nlaunch_new_instance()"
        spec = tmp_path / "jupyter" / "kernels" / "python3"
        spec.mkdir(parents=True)
        argv = [sys.executable, "-c", start, "-f", "{connection_file}"]
        (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
        (root / "race").touch()
        done = run(root, "00_first", JUPYTER_PATH=str(tmp_path / "jupyter"))
        assert done.returncode == 0, done.stderr
        assert not (root / "race").exists() and manifest(root, "00_first", "laptop")

    def test_sigterm_lets_the_kernel_save(self, tmp_path):
        """Although it comes twice, as where a cluster ends a job that is out of time."""
        body = [
            "import signal, time\nstopped = []\nsignal.signal(signal.SIGTERM, lambda *_: stopped.append(1))",
            "(stage.folder / 'running').touch()\nwhile not stopped:\n    time.sleep(0.05)",
            "time.sleep(1)\n(stage.folder / 'state').write_text('saved')\nfrom ssmde_lib.errors import UserError\n"
            "raise UserError('stopped by SIGTERM')",
        ]
        root = write_tutorial(tmp_path / "tiny", body)
        environment = os.environ | {"PYTHONPATH": str(tiny_tutorial.REPOSITORY)}
        words = [Path(sys.executable).parent / "ssmde", "run", "00_first"]
        process = subprocess.Popen(words, cwd=root, env=environment, stderr=subprocess.PIPE, text=True)
        folder = root / "runs/laptop/00_first"
        deadline = time.monotonic() + 60
        while not (folder / "running").exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "00_first: stopped by SIGTERM" in errors.strip().splitlines()[-1]
        assert (folder / "state").read_text() == "saved"


def test_the_manifest_holds_what_it_promises(finished):
    found = manifest(finished, "00_first", "laptop")
    assert found["parameters"] == COMMON | {"count": 4}
    assert found["seed"] == 0
    assert set(found["outputs"]) == {"numbers.json"}
    assert found["packages"]["torch"]
    assert {"upstream", "metrics", "git_commit", "device", "wall_seconds", "peak_memory_mib"} <= set(found)


def test_from_the_root_from_notebooks_and_in_a_shell_the_results_are_the_same(tutorial):
    """Plain Papermill from two folders, and the cells one after another in IPython, as JupyterLab runs them."""
    from IPython.core.interactiveshell import InteractiveShell

    run(tutorial, "01_second", "-p", "factor", "3")
    first = manifest(tutorial, "01_second", "laptop")["metrics"]
    for folder, path in ((tutorial, "notebooks/01_second.ipynb"), (tutorial / "notebooks", "01_second.ipynb")):
        done = command(folder, "papermill", path, os.devnull, "-p", "factor", "3")
        assert done.returncode == 0, done.stderr
        assert manifest(tutorial, "01_second", "laptop")["metrics"] == first == {"total": 18.0}
    cells = [
        cell
        for cell in json.loads((tutorial / "notebooks/01_second.ipynb").read_text())["cells"]
        if cell["cell_type"] == "code"
    ]
    shell, here = InteractiveShell(), Path.cwd()
    try:
        os.chdir(tutorial / "notebooks")
        for cell in cells:
            shell.run_cell("".join(cell["source"]).replace("1.0", "3.0"), store_history=True).raise_error()
    finally:
        os.chdir(here)
    assert manifest(tutorial, "01_second", "laptop")["metrics"] == first


def test_threads_share_the_machine_unless_the_user_chose(tmp_path):
    """What OpenMP prints as torch loads it, after the first line of a notebook and after the command line's start."""
    words = {
        "notebook": "from ssmde_lib.pipeline import begin\ntry:\n    begin('none', {})\nexcept Exception:\n    pass\n",
        "shell": "from ssmde_lib.cli import main\nmain.callback()\n",
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    for entry, start in words.items():
        for chosen, waiting, threads in (
            ({}, "PASSIVE", max(1, cores() // 2)),
            ({"OMP_WAIT_POLICY": "active", "OMP_NUM_THREADS": "7"}, "ACTIVE", 7),
        ):
            environment = clean | {"OMP_DISPLAY_ENV": "TRUE"} | chosen
            done = subprocess.run(
                [sys.executable, "-c", start + "import torch"],
                env=environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=True,
            )
            assert f"OMP_WAIT_POLICY = '{waiting}'" in done.stderr, (entry, done.stderr[-500:])
            assert f"OMP_NUM_THREADS = '{threads}'" in done.stderr, (entry, done.stderr[-500:])
