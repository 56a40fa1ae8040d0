"""A figure that follows the hand: sliders and a clicked pixel where a kernel runs, stored pictures where none does.

explore(draw, {"near": {"x": 20, "y": 50, "depth": 5.0}, "far": {…}}, image=image, depth=[5, 10, 20],
        alt="…", caption="…")
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ssmde_lib.display.figures import picture, to_image
from ssmde_lib.display.scrubber import COLUMN, data_uri, encode, scrub


def explore(
    draw: Callable[..., Figure],
    examples: Mapping[str, Mapping[str, float]],
    *,
    name: str,
    alt: str,
    caption: str = "",
    image: np.ndarray | None = None,
    start: int = 0,
    **sliders: Sequence[float],
) -> None:
    """Show `draw(**arguments)` for arguments that the reader chooses; a headless run stores that of the examples.

    Args:
        draw: makes the figure.
        examples: arguments by label.
        name: what the examples vary.
        alt: what the figure shows.
        caption: below it.
        image: gives the arguments `x` and `y`, the pixel clicked in it (pixels, integers).
        start: place of the example shown first.
        sliders: the values of each further argument.
    """
    if "SSMDE_HEADLESS" in os.environ:
        stored = {label: draw(**arguments) for label, arguments in examples.items()}
        scrub(stored, name=name, alt=alt, caption=caption, start=start)
        return
    from IPython.display import Markdown, display

    display(controls(draw, list(examples.values())[start], alt, image, sliders))
    if caption:
        display(Markdown(f"*{caption}*"))


def controls(
    draw: Callable[..., Figure],
    start: Mapping[str, float],
    alt: str,
    image: np.ndarray | None,
    sliders: Mapping[str, Sequence[float]],
):
    """The widgets of `explore`, in a box: the image to click, sliders, and the figure."""
    import ipywidgets

    figure, arguments, parts = ipywidgets.HTML(), dict(start), []

    def update(**changed) -> None:
        arguments.update(changed)
        figure.value = picture(draw(**arguments), alt)[0]["text/html"]

    if image is not None:
        parts.append(clickable(to_image(image), (start["x"], start["y"]), lambda x, y: update(x=x, y=y)))
    for name, values in sliders.items():
        nearest = min(values, key=lambda value: abs(value - start[name]))
        slider = ipywidgets.SelectionSlider(
            options=[(f"{value:.3g}", value) for value in values],
            value=nearest,
            description=name,
            continuous_update=False,
            layout={"width": "480px"},
        )
        slider.observe(lambda change, name=name: update(**{name: change["new"]}), "value")
        parts.append(slider)
    update()
    return ipywidgets.VBox([*parts, figure])


def clickable(image: np.ndarray, start: tuple[float, float], follow: Callable[[int, int], None]):
    """A widget: an image, enlarged; `follow(x, y)` is called with each pixel that is clicked or reached by arrows."""
    import anywidget
    import traitlets

    class ClickableImage(anywidget.AnyWidget):
        """The image, its size in pixels, and the chosen pixel; the crosshair is drawn by the browser."""

        _esm = Path(__file__).with_name("clickable.js")
        source = traitlets.Unicode().tag(sync=True)
        size = traitlets.List().tag(sync=True)
        scale = traitlets.Int().tag(sync=True)
        pixel = traitlets.List().tag(sync=True)

    height, width = image.shape[:2]
    widget = ClickableImage(
        source=data_uri(encode(image, lossless=True)),
        size=[width, height],
        scale=max(1, COLUMN // width),
        pixel=[int(start[0]), int(start[1])],
    )
    widget.observe(lambda change: follow(*change["new"]), "pixel")
    return widget
