"""Figures of the notebooks: functions that take arrays and return a Matplotlib figure, and `show`, which displays it.

    figure = image_grid([[image, colourise(depth)]], titles=["image", "depth"])
    show(figure, alt="a street and its depth", caption="Near is bright.")

Colour maps are perceptually uniform and colour-blind safe; masks are told by hatch and colour. Images are `h w 3` RGB
(uint8, or float in [0, 1]) or `h w`, as numpy arrays or tensors on any device; tensors may also be `3 h w`.
"""

import base64
import html
import io
import os
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ssmde_lib import opencv as cv2
from ssmde_lib.inference.colours import colourise as colourise
from ssmde_lib.inference.colours import to_image

PAGE = 9.0  # inches of a figure that fills a page, 100 pixels each
DPI, GAP, LINE = 200, 16, 48  # of a stored figure, twice what is shown; pixels between images, and of a title's line
ERROR_MAP = "cividis"
MASK_COLOURS = [
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#F0E442",
    "#56B4E9",
]  # Okabe and Ito's colour-blind-safe palette
MASK_HATCHES = ["//", "\\\\", "..", "xx", "oo", "++"]


def show(figure: Figure, *, alt: str, caption: str = "") -> None:
    """Display a figure with its alternative text and, below it, its caption; then close it."""
    display_bundle(*picture(figure, alt), caption)


def display_bundle(data: dict, metadata: dict, caption: str = "") -> None:
    """Display a MIME bundle with its metadata and, below it, a caption."""
    from IPython.display import Markdown, display

    display(data, raw=True, metadata=metadata)
    if caption:
        display(Markdown(f"*{caption}*"))


def picture(figure: Figure, alt: str) -> tuple[dict, dict]:
    """The MIME bundle of a figure and its metadata, at twice the resolution at which it is shown; closes the figure.

    JupyterLab shows PNG without alternative texts, so a person gets an `img` element too. A headless run, whose pages
    take the text from the metadata, need not hold each picture twice.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight")
    plt.close(figure)
    png = buffer.getvalue()
    width = int.from_bytes(png[16:20], "big") // 2
    data = {"image/png": png, "text/plain": alt}
    if "SSMDE_HEADLESS" not in os.environ:
        source = base64.b64encode(png).decode()
        style, source = f"width:{width}px;max-width:100%", f"data:image/png;base64,{source}"
        data["text/html"] = f'<img style="{style}" alt="{html.escape(alt)}" src="{source}">'
    return data, {"image/png": {"alt": alt, "width": width}}


def png_outputs(cells) -> list:
    """The outputs of executed notebook cells that hold a PNG."""
    return [output for cell in cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]


def tint(values, low: float | None = None, high: float | None = None, colour_map: str = ERROR_MAP) -> np.ndarray:
    """A map `h w` of numbers (error, weight, …) as uint8 RGB `h w 3`, bright is high.

    The range is its own unless given.
    """
    values = to_image(values).astype(np.float64)
    low, high = (np.nanmin(values) if low is None else low), (np.nanmax(values) if high is None else high)
    colours = colormaps[colour_map](np.clip((values - low) / max(high - low, 1e-12), 0, 1))[..., :3]
    return (colours * 255).astype(np.uint8)


def image_grid(rows, titles=None, labels=None, width: float = PAGE) -> Figure:
    """Rows of images, each enlarged by the largest whole number that fits, so that its pixels stay sharp squares.

    Args:
        rows: images; single channels are grey. The first one's size is that of all places.
        titles: above the columns; a list of lists has those of every row.
        labels: left of the rows.
        width: of all columns, in inches; 100 pixels of a page each.
    """
    rows = [[to_image(image) for image in row] for row in rows]
    titles = [*(titles if titles and isinstance(titles[0], (list, tuple)) else [titles or []])]
    titles += [[]] * (len(rows) - len(titles))
    columns = max(len(row) for row in rows)
    height, breadth = rows[0][0].shape[:2]
    scale = ((width - bool(labels)) * DPI / columns - GAP) / breadth  # an inch for the labels
    scale = int(scale) or scale
    place = np.array([breadth, height]) * scale
    heads = [LINE * max((title.count("\n") + 1 for title in row), default=0) for row in titles]
    size = np.array([columns * (place[0] + GAP), sum(heads) + len(rows) * (place[1] + GAP)])
    figure, top = plt.figure(figsize=tuple(size / DPI)), size[1]
    for number, (row, head, images) in enumerate(zip(titles, heads, rows, strict=True)):
        top -= head + place[1]
        for column, image in enumerate(images):
            corner = np.array([column * (place[0] + GAP), top])
            axis = figure.add_axes((*(corner / size), *(place / size)), xticks=[], yticks=[], frame_on=False)
            axis.imshow(
                image, cmap="gray" if image.ndim == 2 else None, interpolation="nearest" if scale >= 1 else None
            )
            axis.set_title(row[column] if column < len(row) else "", fontsize=10)
            if labels and column == 0:
                axis.set_ylabel(textwrap.fill(labels[number], 12), rotation=0, ha="right", va="center", fontsize=10)
        top -= GAP
    return figure


def contact_sheet(images, columns: int = 4, titles=None, width: float = PAGE) -> Figure:
    """Many images of one size, in reading order, each under its title."""
    images, titles = list(images), list(titles or [])
    starts = range(0, len(images), columns)
    rows, heads = ([items[start : start + columns] for start in starts] for items in (images, titles))
    return image_grid(rows, heads, width=width)


def filmstrip(
    draw: Callable[[float], np.ndarray],
    values: Sequence[float],
    *,
    name: str,
    alt: str,
    caption: str = "",
    columns: int = 4,
) -> None:
    """Show the images `draw(value)` of all values side by side; `name` is what varies."""
    images = [to_image(draw(value)) for value in values]
    show(contact_sheet(images, columns, [f"{name} = {value:g}" for value in values]), alt=alt, caption=caption)


def draw_mask(axis: Axes, mask, kind: int = 0, label: str | None = None) -> None:
    """Outline and hatch a boolean mask `h w` over an image, which stays visible; `label` enters the legend.

    `kind` picks the pair of colour and hatch.
    """
    mask = np.pad(to_image(mask).astype(float), 1)
    colour, hatch = MASK_COLOURS[kind % len(MASK_COLOURS)], MASK_HATCHES[kind % len(MASK_HATCHES)]
    if mask.any():
        across, along = (np.arange(-1, side - 1) for side in mask.shape[::-1])
        with plt.rc_context({"hatch.linewidth": 0.7}):
            inside = axis.contourf(across, along, mask, levels=[0.5, 1.5], colors="none", hatches=[hatch])
            inside.set_edgecolor(colour)
        draw_outline(axis, mask[1:-1, 1:-1], colour)
    if label:
        axis.fill_between([], [], [], facecolor="none", hatch=hatch, edgecolor=colour, linewidth=1.2, label=label)


def draw_outline(axis: Axes, mask, colour: str = MASK_COLOURS[5]) -> None:
    """Outline a boolean mask `h w` over an image."""
    mask = np.pad(to_image(mask).astype(float), 1)
    across, along = (np.arange(-1, side - 1) for side in mask.shape[::-1])
    if mask.any():
        axis.contour(across, along, mask, levels=[0.5], colors=[colour], linewidths=1.0)


def outline(image, mask, enlarge: int = 4, colour: str = MASK_COLOURS[5]) -> np.ndarray:
    """The image `h w 3` uint8, enlarged, with a boolean mask `h w` outlined in its pixels: where no figure is made."""
    image, mask = (np.asarray(x).repeat(enlarge, 0).repeat(enlarge, 1) for x in (to_image(image), to_image(mask)))
    edge = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    return np.where(edge[..., None], np.array(to_rgb(colour)) * 255, image).astype(np.uint8)


def masked_image(image, masks: dict, width: float = PAGE) -> Figure:
    """An image under several masks, `{label: h w bool}`, with a legend."""
    figure = image_grid([[image]], width=width)
    axis = figure.axes[0]
    limits = axis.get_xlim(), axis.get_ylim()
    for kind, (label, mask) in enumerate(masks.items()):
        draw_mask(axis, mask, kind, label)
    axis.set(xlim=limits[0], ylim=limits[1])
    figure.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=len(masks), frameon=False)
    return figure


def value_map(
    values,
    label: str,
    colour_map: str = ERROR_MAP,
    low: float | None = None,
    high: float | None = None,
    width: float = PAGE - 1,
) -> Figure:
    """A map `h w` of numbers (error, weight, …) with its colour bar."""
    figure = image_grid([[values]], width=width)
    axis = figure.axes[0]
    image = axis.images[0]
    values = to_image(values)
    limits = np.nanmin(values) if low is None else low, np.nanmax(values) if high is None else high
    image.set(cmap=colour_map, clim=limits)
    figure.colorbar(image, cax=axis.inset_axes((1.02, 0, 0.02, 1)), label=label)
    return figure


def depth_bar(axis: Axes, near: float, far: float, unit: str = "m") -> None:
    """Add the colours of `colourise(depth, near, far)`, right of an image."""
    bar = axis.inset_axes((1.02, 0, 0.03, 1))
    bar.imshow(colourise(np.repeat(1 / np.linspace(1 / near, 1 / far, 256)[:, None], 2, 1), near, far), aspect="auto")
    depths = [near, 1.5 * near, 2.5 * near, 5 * near, far]
    bar.set_yticks([255 * (1 / near - 1 / depth) / (1 / near - 1 / far) for depth in depths])
    bar.set(xticks=[], yticklabels=[f"{depth:g}" for depth in depths], ylabel=f"depth, {unit}")
    bar.yaxis.tick_right()
    bar.yaxis.set_label_position("right")


def point_cloud(
    points, colours, azimuth: float = 20.0, elevation: float = 20.0, limit: int = 20_000, width: float = 7.0
) -> Figure:
    """A preview of points `n 3` (camera frame: x right, y down, z forward) in their colours `n 3`.

    At most `limit` are drawn.
    """
    points, colours = np.asarray(points), np.asarray(colours)
    colours = colours / 255 if colours.dtype == np.uint8 else colours
    step = -(-len(points) // limit)
    (x, y, z), colours = points[::step].T, colours[::step]
    figure = plt.figure(figsize=(width, 0.75 * width), layout="constrained")
    axis: Any = figure.add_subplot(projection="3d")  # the stubs know no 3D axes
    for pane in (axis.xaxis, axis.yaxis, axis.zaxis):
        pane.set_pane_color("white")
    axis.scatter(x, z, -y, c=colours, s=3, linewidths=0)
    axis.set(xlabel="x (right)", ylabel="z (forward)", zlabel="−y (up)")
    axis.set_aspect("equal")
    axis.view_init(elevation, -90 + azimuth)
    return figure
