"""The README's pictures: what they show, and what a run that lacks something says."""

import base64

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ssmde_lib.cli import main
from ssmde_lib.display.figures import picture
from ssmde_lib.display.pictures import GAP, NETWORKS, TITLE, coloured, write_pictures
from ssmde_lib.networks import checkpoint
from ssmde_lib.networks.architecture import Architecture
from ssmde_lib.synthetic import write_world


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run of 2 test clips, untrained networks and one executed notebook."""
    run = tmp_path_factory.mktemp("run")
    write_world(run / "01_data", "street", {"test": 2}, frames=3, height=64, width=96, workers=1)
    net = Architecture(width=8, pose_width=8).build(0).depth_net
    for stage in NETWORKS.values():
        (run / stage).mkdir()
        checkpoint.save(net, run / stage / "depth.safetensors", {})
    figure, axis = plt.subplots(figsize=(8, 4))
    axis.plot([0, 1])
    data, _ = picture(figure, "a line")
    png = base64.b64encode(data["image/png"]).decode()
    cell = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("display_data", {"image/png": png})])
    (run / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), run / "notebooks" / "04_pose_and_depth.ipynb")
    return run


def test_the_pictures_are_the_image_and_three_depths_of_every_frame(run_folder, tmp_path):
    written = write_pictures(run_folder, tmp_path)
    assert [path.name for path in written] == ["depth.webp", "depth.png", "04.webp"]
    animation = Image.open(tmp_path / "depth.webp")
    assert animation.n_frames == 6 and animation.size == (2 * 192 + GAP, 2 * (128 + TITLE) + GAP)
    still = np.asarray(Image.open(tmp_path / "depth.png"))
    image = still[TITLE : TITLE + 128, :192]
    assert (image[::2, ::2] == image[1::2, 1::2]).all(), "enlarged by whole pixels"
    assert max(Image.open(tmp_path / "04.webp").size) == 320


def test_one_range_of_colours_holds_for_a_whole_clip():
    depths = np.stack([np.full((4, 4), 2.0), np.full((4, 4), 8.0)])
    near, far = (picture.mean() for picture in coloured(depths))
    assert near > 150 and far < 30


def test_an_unfinished_run_is_one_sentence(tmp_path):
    result = CliRunner().invoke(main, ["pictures", str(tmp_path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1 and "finish the run by `make tutorial` first" in result.output
