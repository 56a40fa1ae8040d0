"""The README's three commands for one KITTI drive, on the real slice, served in its official archives."""

import io
import re
import shlex
import shutil
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from local_server import serve

from data_scripts.prepare_kitti import main as prepare_kitti
from ssmde_lib.cli import main as ssmde
from ssmde_lib.data.layout import find_clips
from ssmde_lib.data.pack import import_data
from ssmde_lib.pipeline.parameters import profile_parameters

ROOT = Path(__file__).parents[1]
RAW = ROOT.parent / "shared" / "data" / "kitti_raw"


def commands() -> list[list[str]]:
    block = re.search(r"## Your own data\n.*?```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [shlex.split(line, comments=True) for line in block[1].strip().splitlines()]


def zipped(pattern: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for path in RAW.glob(pattern):
            if path.is_file():
                file.write(path, path.relative_to(RAW))
    return buffer.getvalue()


@pytest.mark.skipif(not RAW.is_dir(), reason=f"the real slice {RAW} is not here")
def test_three_commands_for_one_kitti_drive(tmp_path, monkeypatch):
    prepare, train, predict = commands()
    monkeypatch.chdir(tmp_path)
    drive = "2011_09_26_drive_0005"
    archives = {
        "raw_data/2011_09_26_calib.zip": zipped("*/calib_*.txt"),
        f"raw_data/{drive}/{drive}_sync.zip": zipped("*/*_sync/*/**/*"),
        f"raw_data/{drive}/{drive}_tracklets.zip": zipped("*/*_sync/tracklet_labels.xml"),
    }
    assert prepare[:2] == ["python", "data_scripts/prepare_kitti.py"]
    with serve(archives) as (url, requests):
        done = CliRunner().invoke(prepare_kitti, [*prepare[2:], "--url", url, "--processes", "1"])
    assert done.exit_code == 0 and len(requests) == 3, done.output

    assert train[:2] == ["make", "tutorial"]
    profile = train[2].removeprefix("PROFILE=")
    parameters = profile_parameters(ROOT, profile, "01_data")
    import_data(tmp_path / parameters["data_folder"], tmp_path / "01_data", (parameters["height"], parameters["width"]))
    (clip,) = find_clips(tmp_path / "01_data", "test")
    assert len(clip) == 20 and clip.poses is not None and (clip.dynamic_mask(5) > 0).any() and (clip.depth(0) > 0).any()

    assert predict[:2] == ["ssmde", "predict"] and predict[2] == parameters["data_folder"]
    student = Path(predict[predict.index("--checkpoint") + 1])
    assert student == Path("runs", profile, "08_student", "depth.safetensors")
    student.parent.mkdir(parents=True)
    shutil.copyfile(
        ROOT / "ssmde_lib" / "weights" / "student.safetensors", student
    )  # stands in for the one that was trained
    done = CliRunner().invoke(ssmde, [*predict[1:], "--device", "cpu"])
    assert done.exit_code == 0, done.output
    out = Path(predict[predict.index("-o") + 1])
    assert len(list(out.glob("depth/*.png"))) == len(list(out.glob("cloud/*.ply"))) == 20


def test_the_results_page_is_what_the_records_say():
    """docs/results.md is what `ssmde ablation table --markdown` prints."""
    page = CliRunner().invoke(ssmde, ["ablation", "table", "--markdown"])
    assert page.exit_code == 0 and page.output == (ROOT / "docs" / "results.md").read_text()


def test_the_readme_s_results_are_those_of_the_results_page():
    """Every line of the README's results table is a line of the section of docs/results.md that its heading names."""
    world, lines = re.search(
        r"^\*\*(.+?)\*\*.*\n\n\| variant .*\n\|[-| ]+\n((?:\|.*\n)+)", (ROOT / "README.md").read_text(), re.MULTILINE
    ).groups()
    section = re.search(
        rf"^## {re.escape(world)}\n(.*?)(?=^## |\Z)", (ROOT / "docs/results.md").read_text(), re.M | re.S
    )
    assert lines.count("\n") >= 4 and set(lines.splitlines()) <= set(section[1].splitlines())
