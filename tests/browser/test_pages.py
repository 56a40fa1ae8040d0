"""The pages of a run as files: what is to be touched works without a kernel, and everyone can read them."""

import pytest

pytestmark = pytest.mark.browser
PAGES = ["index", "docs/results", "notebooks/05_dynamic_scenes", "reference/geometry"]


def open_page(page, run, name: str, width: int = 1280) -> None:
    """Open a page of the book at a width."""
    page.set_viewport_size({"width": width, "height": 900})
    page.goto((run / "book" / f"{name}.html").as_uri())


@pytest.mark.parametrize("name", PAGES)
def test_no_serious_violation_of_accessibility(page, run, width, seen, name):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    open_page(page, run, name, width)
    found = axe.Axe().run(page, options={"preload": False}).response["violations"]
    serious = [violation for violation in found if violation["impact"] in ("serious", "critical")]
    told = [f"{each['id']}: {each['help']}: {each['nodes'][0]['html'][:200]}" for each in serious]
    page.screenshot(path=f"{seen}.png", full_page=True)
    assert not told


def test_letters_of_figures_can_be_read_on_a_telephone(page, run, seen):
    """Letters of 10 points of a figure 9 inches wide are 9 pixels high at 600; the page itself stays narrow."""
    open_page(page, run, "notebooks/05_dynamic_scenes", width=400)
    figures = page.locator(".cell_output .image-reference img, .cell_output figure img:not([style*=pixelated])").all()
    assert figures and all(figure.bounding_box()["width"] >= 600 for figure in figures)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 400
    page.screenshot(path=f"{seen}.png", full_page=True)


@pytest.mark.parametrize("name", ["01_data", "03_view_synthesis", "05_dynamic_scenes", "07_multiview_mask"])
def test_scrubbers_work_without_a_kernel(page, run, name):
    open_page(page, run, f"notebooks/{name}")
    frames = page.locator("figure[data-pictures]").all()
    assert frames
    for frame in frames:
        picture, slider = frame.locator("img"), frame.locator("input")
        before = picture.get_attribute("src")
        slider.press("ArrowLeft" if int(slider.input_value()) else "ArrowRight")
        assert picture.get_attribute("src") != before
        assert frame.locator("output").inner_text() in picture.get_attribute("alt")


def test_a_scrubber_plays(page, run):
    open_page(page, run, "notebooks/01_data")
    frame = page.locator("figure[data-pictures]").first
    frame.locator("button").click()
    page.wait_for_function("document.querySelector('figure[data-pictures] input').value > 2", timeout=20_000)
    frame.locator("button").click()
    stopped = frame.locator("input").input_value()
    page.wait_for_timeout(500)
    assert frame.locator("input").input_value() == stopped


@pytest.mark.parametrize("name", ["03_view_synthesis", "10_your_own_video"])
def test_point_clouds_turn_without_a_kernel(page, run, width, seen, name):
    open_page(page, run, f"notebooks/{name}", width)
    canvas = page.locator("canvas[data-turn]").first
    canvas.scroll_into_view_if_needed()
    before = canvas.screenshot(path=f"{seen}.png")
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 80, box["y"] + box["height"] / 2 + 10, steps=4)
    page.mouse.up()
    assert canvas.screenshot() != before
    canvas.dblclick()
    canvas.evaluate("element => element.blur()")
    assert canvas.screenshot() == before


def test_exported_html_keeps_the_scrubber(browser, run, tmp_path):
    """Of nbconvert's page, which would load MathJax from elsewhere."""
    from nbconvert import HTMLExporter

    text, _ = HTMLExporter().from_filename(str(run / "notebooks" / "05_dynamic_scenes.ipynb"))
    (tmp_path / "page.html").write_text(text)
    page = browser.new_context(offline=True).new_page()
    page.goto((tmp_path / "page.html").as_uri())
    picture = page.locator("figure[data-pictures] img").first
    before = picture.get_attribute("src")
    page.locator("figure[data-pictures] input").first.press("End")
    assert picture.get_attribute("src") != before
