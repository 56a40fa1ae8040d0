"""Things to play with in a notebook: a filmstrip always, and a slider beside it only on demand.

A headless run leaves no image of a slider, so the filmstrip shows everything and the slider is optional.
"""

from collections.abc import Callable, Sequence

import numpy as np

from ssmde_lib import opencv as cv2
from ssmde_lib.display.figures import contact_sheet, show, to_image


def filmstrip(
    draw: Callable[[float], np.ndarray],
    values: Sequence[float],
    *,
    name: str,
    alt: str,
    caption: str = "",
    columns: int = 4,
    interactive: bool = False,
) -> None:
    """Show `draw(value)`, an image `h w 3` (uint8, or float in [0, 1]) or `h w`, for every value.

    `name` is what varies.

    With `interactive` a slider over the same values follows.
    """
    images = [to_image(draw(value)) for value in values]
    show(contact_sheet(images, columns, [f"{name} = {value:g}" for value in values]), alt=alt, caption=caption)
    if interactive:
        from IPython.display import display

        display(slider(images, values, name))


def slider(images: list[np.ndarray], values: Sequence[float], name: str):
    """An ipywidgets box: a slider over `values` above the image that belongs to it."""
    import ipywidgets

    pictures = [encode(image) for image in images]
    picture = ipywidgets.Image(value=pictures[0], format="png", width=640)
    control = ipywidgets.SelectionSlider(
        options=[(f"{value:g}", index) for index, value in enumerate(values)], description=name
    )
    control.observe(lambda change: setattr(picture, "value", pictures[change["new"]]), names="value")
    return ipywidgets.VBox([control, picture])


def encode(image: np.ndarray) -> bytes:
    """PNG of an image `h w` or `h w 3` RGB, uint8 or float in [0, 1]."""
    image = image if image.dtype == np.uint8 else (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
    return cv2.imencode(".png", image if image.ndim == 2 else image[..., ::-1])[1].tobytes()
