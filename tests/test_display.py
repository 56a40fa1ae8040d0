"""What notebooks show: figures, the live view, and things to touch, each with a form that needs no kernel."""

import base64
import html
import io
import json
import re

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
from nbformat.sign import NotebookNotary
from PIL import Image

from ssmde_lib.display import figures, live_view
from ssmde_lib.display.cloud import quantise, show_cloud
from ssmde_lib.display.explorer import explore
from ssmde_lib.display.figures import contact_sheet, image_grid, masked_image, outline, show
from ssmde_lib.display.live_view import LiveView, time_left
from ssmde_lib.display.scrubber import scrub
from ssmde_lib.networks.architecture import Architecture
from ssmde_lib.networks.depth_and_pose import DepthAndPose
from ssmde_lib.pipeline.execution import tidy

PICTURE = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)


class Displayed:
    """What IPython was asked to display, and later to put in its place."""

    def __init__(self):
        self.bundles, self.updates = [], []

    def __call__(self, data, metadata=None, display_id=None, raw=False):
        self.bundles.append((data, metadata))
        return self if display_id else None

    def update(self, data, metadata=None, raw=False):
        self.updates.append((data, metadata))


@pytest.fixture
def displayed(monkeypatch) -> Displayed:
    found = Displayed()
    monkeypatch.setattr("IPython.display.display", found)
    monkeypatch.setenv("SSMDE_HEADLESS", "1")
    return found


def pixels(data: dict) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data["image/png"])).convert("RGB"))


# ---- figures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [1, 2, 3, 5])
def test_images_are_enlarged_by_a_whole_number(columns):
    """Every pixel of the image is a square of one colour and one size."""
    data, _ = figures.picture(image_grid([[PICTURE] * columns]), "noise")
    shown = pixels(data)
    inside = shown[25:-25, 25:-25]
    runs = np.diff(np.flatnonzero((inside[:, 1:] != inside[:, :-1]).any((0, 2))))
    scale = int((figures.PAGE * figures.DPI / columns - figures.GAP) / PICTURE.shape[1])
    assert np.median(runs) == scale > 1
    assert np.mean(runs == scale) > 0.98


def test_every_row_may_have_titles_of_its_own():
    figure = image_grid([[PICTURE, PICTURE], [PICTURE]], [["a", "b"], ["c"]], ["first", "second"])
    assert [axis.get_title() for axis in figure.axes] == ["a", "b", "c"]
    assert [axis.get_ylabel() for axis in figure.axes] == ["first", "", "second"]
    sheet = contact_sheet([PICTURE] * 3, columns=2, titles=["a", "b", "c"])
    assert [axis.get_title() for axis in sheet.axes] == ["a", "b", "c"]
    plt.close("all")


def test_a_mask_does_not_cover_the_image():
    """Most pixels under a hatched mask keep their colours."""
    mask = np.zeros((64, 96), bool)
    mask[10:50, 20:80] = True
    drawn = image_grid([[PICTURE]]), masked_image(PICTURE, {"all": mask})
    plain, masked = (pixels(figures.picture(figure, "x")[0]) for figure in drawn)
    rows, columns = np.minimum(plain.shape, masked.shape)[:2]
    assert (plain[:rows, :columns] == masked[:rows, :columns]).all(-1)[100:900, 300:1500].mean() > 0.7


def test_an_outline_follows_the_border():
    mask = np.zeros((64, 96), bool)
    mask[10:20, 30:40] = True
    changed = (outline(PICTURE, mask, enlarge=1) != PICTURE).any(-1)
    assert changed[10, 35] and changed[9, 35] and not changed[15, 35] and not changed[30, 60]


def test_a_person_gets_an_element_with_the_alternative_text(displayed, monkeypatch):
    show(plt.figure(), alt='a "quoted" street', caption="A street.")
    assert "text/html" not in displayed.bundles[0][0]
    monkeypatch.delenv("SSMDE_HEADLESS")
    show(plt.figure(), alt='a "quoted" street')
    data, metadata = displayed.bundles[2]
    assert (
        'alt="a &quot;quoted&quot; street"' in data["text/html"] and metadata["image/png"]["alt"] == 'a "quoted" street'
    )


# ---- things to touch -------------------------------------------------------------------------------------------------


def stored_pictures(page: str) -> list[list[str]]:
    return json.loads(html.unescape(re.search(r'data-pictures="([^"]*)"', page)[1]))


def test_a_scrubber_holds_every_picture_without_loss(displayed):
    shades = {f"frame {k}": np.full((8, 12, 3), 20 * k, np.uint8) for k in range(10)}
    scrub(shades, name="frame", alt="a <street>", caption="A drive.", start=2)
    data, metadata = displayed.bundles[0]
    stored = stored_pictures(data["text/html"])
    assert [label for _, label in stored] == list(shades)
    for (source, _), image in zip(stored, shades.values(), strict=True):
        content = base64.b64decode(source.removeprefix("data:image/webp;base64,"))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")), image)
    assert 'alt="a &lt;street&gt;, frame 2"' in data["text/html"] and 'max="9"' in data["text/html"]
    assert metadata["image/png"]["alt"] == "a <street>" and pixels(data).size
    assert "http" not in data["text/html"].replace("https://", "http://").split("data-pictures")[0]


def test_a_scrubber_takes_figures_and_closes_them(displayed):
    scrub({name: plt.figure(figsize=(2, 1)) for name in "ab"}, name="speed", alt="two")
    assert len(stored_pictures(displayed.bundles[0][0]["text/html"])) == 2 and not plt.get_fignums()


def test_a_cloud_s_points_lie_in_its_cube():
    points = np.random.default_rng(1).normal(size=(5000, 3)) * [1, 2, 4]
    places, kept = quantise(points)
    assert places.dtype == np.uint16 and kept.mean() > 0.97
    recovered = (places / 65535 - 0.5) * np.ptp(np.percentile(points, [1, 99], axis=0)[:, 2])
    middle = np.percentile(points, [1, 99], axis=0).mean(0)
    assert np.abs(recovered + middle - points[kept]).max() < 1e-3


def test_a_cloud_has_a_picture_and_its_colours(displayed):
    points, colours = np.random.default_rng(2).random((30_000, 3)), np.tile([1.0, 0.5, 0.0], (30_000, 1))
    show_cloud(torch.from_numpy(points), torch.from_numpy(colours), alt="a cube")
    page = displayed.bundles[0][0]["text/html"]
    stored = np.frombuffer(base64.b64decode(re.search(r'data-colours="([^"]*)"', page)[1]), np.uint8).reshape(-1, 3)
    assert 9_000 < len(stored) <= 12_000 and (stored == [255, 128, 0]).all()
    assert '<img alt="a cube"' in page and "webgl" in page and "import" not in page


def test_executed_copies_are_trusted_by_jupyterlab(tmp_path, monkeypatch):
    """Else it would take their sliders away."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    output = nbformat.v4.new_output("display_data", {"text/html": "<input oninput='1'>"})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[output])])
    nbformat.write(notebook, tmp_path / "executed.ipynb")
    assert not NotebookNotary().check_signature(nbformat.read(tmp_path / "executed.ipynb", as_version=4))
    tidy(tmp_path / "executed.ipynb")
    assert NotebookNotary().check_signature(nbformat.read(tmp_path / "executed.ipynb", as_version=4))


def speed_figure(speed: float, **place: int):
    figure, axis = plt.subplots(figsize=(2, 1))
    axis.plot([0, speed])
    axis.set_title(str(place))
    return figure


def test_a_headless_run_stores_the_examples(displayed):
    explore(speed_figure, {"slow": {"speed": 1}, "fast": {"speed": 9}}, name="speed", alt="speeds", speed=[1, 5, 9])
    assert [label for _, label in stored_pictures(displayed.bundles[0][0]["text/html"])] == ["slow", "fast"]


def test_a_kernel_redraws_for_the_slider_and_the_clicked_pixel(displayed, monkeypatch):
    monkeypatch.delenv("SSMDE_HEADLESS")
    examples = {"slow": {"x": 3, "y": 2, "speed": 1}}
    explore(speed_figure, examples, name="speed", alt="speeds", image=PICTURE, speed=[1, 5, 9])
    image, slider, figure = displayed.bundles[0][0].children
    seen = [figure.value]
    assert 'alt="speeds"' in seen[0] and image.pixel == [3, 2] and image.size == [96, 64]
    slider.value = 5
    seen.append(figure.value)
    image.pixel = [40, 20]
    seen.append(figure.value)
    assert len(set(seen)) == 3


# ---- the live view ---------------------------------------------------------------------------------------------------

LOG = [{"step": 1, "seconds": 0.5, "photometric": 0.2}, {"step": 2, "seconds": 1.0, "photometric": 0.1, "val_all": 0.3}]


@pytest.fixture
def model() -> DepthAndPose:
    return Architecture(width=8).build(seed=0).train()


def test_the_live_view_is_replaced_in_place_every_few_seconds(displayed, model, monkeypatch):
    now = iter([0.0, 1.0, 2.0, 5.5, 6.0])
    monkeypatch.setattr(live_view.time, "monotonic", lambda: next(now))
    titles = []
    draw = live_view.draw
    monkeypatch.setattr(live_view, "draw", lambda *words: titles.append(words[3]) or draw(*words))
    view = LiveView(PICTURE, steps=10)
    for done in (1, 2, 3, 10):
        view(model, LOG, done)
    assert titles == ["step 1 of 10, 9 s left", "step 3 of 10, 13 s left", "step 10 of 10"]
    assert len(displayed.bundles) == 1 and len(displayed.updates) == 2
    assert model.training


def test_a_headless_live_view_keeps_its_last_state_as_a_picture(displayed, model):
    view = LiveView(PICTURE, steps=2)
    view(model, LOG[:1], 1)
    view(model, LOG, 2)
    data, metadata = displayed.updates[-1]
    assert "text/html" not in data and metadata["image/png"]["alt"].startswith("loss terms") and pixels(data).size


def test_a_resumed_training_is_timed_from_where_it_goes_on(displayed, model, monkeypatch):
    now = iter([0.0, 2.0])
    monkeypatch.setattr(live_view.time, "monotonic", lambda: next(now))
    titles = []
    monkeypatch.setattr(live_view, "draw", lambda *words: titles.append(words[3]) or plt.figure())
    LiveView(PICTURE, steps=100)(model, LOG, 91)
    assert titles == ["step 91 of 100, 18 s left"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, ""), (30, ", 30 s left"), (89.6, ", 90 s left"), (600, ", 10 min left")]
)
def test_the_time_left(seconds, words):
    assert time_left(seconds) == words
