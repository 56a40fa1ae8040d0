"""JupyterLab as a person uses it: Run All, stop and resume, and everything there is to touch."""

import shutil
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
from conftest import RUNS, collect_errors

pytestmark = pytest.mark.browser
BUSY = "document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status"
PICTURES = "[...document.querySelectorAll('.jp-OutputArea-output img')].map(image => image.alt)"
FIRST_FIGURE, REUSED = 6, 20  # seconds that are aimed at, on an idle machine


class Executed(NamedTuple):
    """A notebook after Run All."""

    page: object
    errors: list[str]
    first: float  # seconds until the first figure
    end: float


def open_notebook(page, lab: tuple[str, object], name: str) -> None:
    """Open a notebook of the copy with a new kernel, all cells rendered."""
    page.goto(f"{lab[0]}lab/tree/notebooks/{name}.ipynb?token=tests&reset", timeout=180_000)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=180_000)
    page.wait_for_function(f"{BUSY} === 'idle'", timeout=180_000)
    page.wait_for_timeout(5_000)  # Lab says idle a moment before the kernel answers


def command(page, name: str) -> None:
    """An entry of the menu Run or Kernel."""
    menu = "Run" if name.startswith("Run") else "Kernel"
    page.get_by_role("menuitem", name=menu, exact=True).click()
    page.get_by_text(name, exact=True).click()


def run_all(page, seconds: float = 1200) -> tuple[float, float]:
    """Run all cells; seconds until the first figure, and until the end."""
    start, first, busy = time.monotonic(), None, False
    command(page, "Run All Cells")
    while time.monotonic() - start < seconds:
        time.sleep(0.2)
        if first is None and page.evaluate(f"{PICTURES}.length"):
            first = time.monotonic() - start
        status = page.evaluate(BUSY)
        busy = busy or status == "busy"
        if busy and status == "idle":
            return first or float("nan"), time.monotonic() - start
    raise TimeoutError(f"not idle after {seconds} s")


def everything(page) -> str:
    """The text of all outputs, those out of sight too."""
    return page.evaluate("[...document.querySelectorAll('.jp-OutputArea-output')].map(o => o.textContent).join('\\n')")


def reach(page, selector: str, place: int = 0):
    """Scroll through the notebook until an element is there."""
    box = page.locator(".jp-WindowedPanel-outer")
    box.evaluate("element => element.scrollTop = 0")
    for _ in range(200):
        found = page.locator(selector)
        if found.count() > place:
            found.nth(place).scroll_into_view_if_needed()
            return found.nth(place)
        box.evaluate("element => element.scrollTop += 400")
        page.wait_for_timeout(150)
    raise AssertionError(f"no {selector}")


@pytest.fixture(scope="module")
def executed(browser, lab) -> Callable:
    """Notebooks, each opened and run once: a page by name, with what it reported and how long it took."""
    pages = {}

    def get(name: str) -> Executed:
        if name not in pages:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            errors = collect_errors(page)
            open_notebook(page, lab, name)
            pages[name] = Executed(page, errors, *run_all(page))
        pages[name].page.bring_to_front()
        return pages[name]

    return get


@pytest.mark.parametrize("name", ["00_start_here", "03_view_synthesis", "04_pose_and_depth", "05_dynamic_scenes"])
def test_run_all(executed, seen, name):
    page, errors, first, end = executed(name)
    print(f"\n{name}: first figure after {first:.1f} s (goal {FIRST_FIGURE}), end after {end:.1f} s", end="")
    print(f" (goal {REUSED})" if name.startswith("04") else "")
    text, alternatives = everything(page), page.evaluate(PICTURES)
    page.screenshot(path=f"{seen}.png")
    assert "Traceback" not in text and "✗" not in text and not errors
    assert alternatives and all(alternatives)


def test_a_finished_training_is_reused(executed):
    assert "is finished with these parameters" in everything(executed("04_pose_and_depth").page)


@pytest.mark.parametrize("name", ["05_dynamic_scenes"])
def test_a_scrubber_shows_another_picture(executed, seen, name):
    page = executed(name).page
    slider = reach(page, "figure[data-pictures] input")
    picture = page.locator("figure[data-pictures] img").first
    before = picture.get_attribute("src"), picture.get_attribute("alt")
    slider.press("End")
    assert picture.get_attribute("src") != before[0] and picture.get_attribute("alt") != before[1]
    page.screenshot(path=f"{seen}.png")


@pytest.mark.parametrize(
    ("name", "touched"),
    [("03_view_synthesis", ["slider image"]), ("05_dynamic_scenes", ["slider"] * 2), ("07_multiview_mask", ["image"])],
)
def test_sliders_and_a_clicked_pixel_change_the_figure(executed, seen, name, touched):
    page, errors = executed(name)[:2]
    for place, parts in enumerate(touched):
        box = reach(page, ".widget-vbox:has(.widget-html img)", place)
        acts = [partial(box.locator(".noUi-handle").press, "ArrowRight")] if "slider" in parts else []
        if "image" in parts:
            picture = box.locator("[role=application]")
            acts += [partial(picture.click, position={"x": 200, "y": 150}), partial(picture.press, "ArrowRight")]
        for act in acts:
            before = box.locator(".widget-html img").get_attribute("src")
            act()
            changes(box.locator(".widget-html img"), before)
        page.screenshot(path=f"{seen}-{place}.png")
    assert not errors


def changes(figure, before: str, seconds: float = 60) -> None:
    """Wait until a figure has another picture."""
    deadline = time.monotonic() + seconds
    while figure.get_attribute("src") == before:
        assert time.monotonic() < deadline, "the figure stays as it was"
        time.sleep(0.2)


def test_a_point_cloud_turns(executed, seen):
    page = executed("03_view_synthesis").page
    canvas = reach(page, "canvas[data-turn]")
    before = canvas.screenshot()
    canvas.press("ArrowRight")
    page.wait_for_timeout(300)
    assert canvas.screenshot() != before
    page.screenshot(path=f"{seen}.png")


def test_a_stopped_training_goes_on(page, lab, seen):
    """Stopped by a click, it says where its state is; run again, it says that it goes on."""
    for earlier in RUNS.glob("smoke-*"):  # where other parameters lead
        shutil.rmtree(earlier)
    path = lab[1] / "notebooks" / "04_pose_and_depth.ipynb"
    text = path.read_text().replace('run: str = \\"\\"', 'run: str = \\"smoke\\"')
    path.write_text(text.replace('profile: str = \\"smoke\\"', 'profile: str = \\"laptop\\"'))
    view = "img[alt^='loss terms']"
    for goes_on in (False, True):
        open_notebook(page, lab, path.stem)
        command(page, "Run All Cells")
        page.wait_for_selector(view, timeout=300_000)
        changes(page.locator(view).first, page.locator(view).first.get_attribute("src"))
        page.screenshot(path=f"{seen}-{'again' if goes_on else 'first'}.png")
        assert ("goes on" in everything(page)) == goes_on
        page.get_by_role("button", name="Interrupt the kernel").click()
        page.wait_for_function(f"{BUSY} === 'idle'", timeout=60_000)
        assert "stopped by Ctrl-C after step" in everything(page)
