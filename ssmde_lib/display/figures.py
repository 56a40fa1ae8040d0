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

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssmde_lib.inference.colours import colourise as colourise
from ssmde_lib.inference.colours import to_image

ERROR_MAP = "cividis"
MASK_COLOURS = [
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#F0E442",
    "#56B4E9",
]  # Okabe and Ito's colour-blind-safe palette
MASK_HATCHES = ["///", "\\\\\\", "...", "xxx", "ooo", "+++"]


def show(figure: Figure, *, alt: str, caption: str = "") -> None:
    """Display a figure with its alternative text and, below it, its caption; then close it."""
    from IPython.display import Markdown, display

    data, metadata = picture(figure, alt)
    display(data, raw=True, metadata=metadata)
    if caption:
        display(Markdown(f"*{caption}*"))


def picture(figure: Figure, alt: str) -> tuple[dict, dict]:
    """The MIME bundle of a figure and its metadata, at twice the resolution at which it is shown; closes the figure.

    JupyterLab shows PNG without alternative texts, so a person gets an `img` element too. A headless run, whose pages
    take the text from the metadata, need not hold each picture twice.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200, bbox_inches="tight")
    plt.close(figure)
    png = buffer.getvalue()
    width = int.from_bytes(png[16:20], "big") // 2
    data = {"image/png": png, "text/plain": alt}
    if "SSMDE_HEADLESS" not in os.environ:
        source = base64.b64encode(png).decode()
        data["text/html"] = f'<img width="{width}" alt="{html.escape(alt)}" src="data:image/png;base64,{source}">'
    return data, {"image/png": {"alt": alt, "width": width}}


def tint(values, low: float | None = None, high: float | None = None, colour_map: str = ERROR_MAP) -> np.ndarray:
    """A map `h w` of numbers (error, weight, …) as uint8 RGB `h w 3`, bright is high.

    The range is its own unless given.
    """
    values = to_image(values).astype(np.float64)
    low, high = (np.nanmin(values) if low is None else low), (np.nanmax(values) if high is None else high)
    colours = colormaps[colour_map](np.clip((values - low) / max(high - low, 1e-12), 0, 1))[..., :3]
    return (colours * 255).astype(np.uint8)


def image_grid(rows, titles=None, labels=None, width: float = 10.0) -> Figure:
    """Rows of images; `titles` stand above the columns, `labels` left of the rows. Single channels are grey."""
    rows = [[to_image(image) for image in row] for row in rows]
    columns = max(len(row) for row in rows)
    height, breadth = rows[0][0].shape[:2]
    figure, axes = plt.subplots(
        len(rows),
        columns,
        squeeze=False,
        layout="constrained",
        figsize=(width, width / columns * height / breadth * len(rows) + 0.4),
    )
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[], frame_on=False)
    for row, images in zip(axes, rows, strict=False):
        for axis, image in zip(row, images, strict=False):
            axis.imshow(image, cmap="gray" if image.ndim == 2 else None, interpolation="nearest")
    for axis, title in zip(axes[0], titles or [], strict=False):
        axis.set_title(title, fontsize=10)
    for axis, label in zip(axes[:, 0], labels or [], strict=False):
        axis.set_ylabel(label, fontsize=10)
    return figure


def contact_sheet(images, columns: int = 4, titles=None, width: float = 10.0) -> Figure:
    """Many images of one size, in reading order, each under its title."""
    images = list(images)
    rows = [images[start : start + columns] for start in range(0, len(images), columns)]
    figure = image_grid(rows, width=width)
    for axis, title in zip(figure.axes, titles or [], strict=False):
        axis.set_title(title, fontsize=9)
    return figure


def draw_mask(axis: Axes, mask, kind: int = 0, label: str | None = None) -> None:
    """Lay a boolean mask `h w` over an image by hatch and colour; `kind` picks the pair, `label` enters the legend."""
    mask = to_image(mask).astype(float)
    colour, hatch = MASK_COLOURS[kind % len(MASK_COLOURS)], MASK_HATCHES[kind % len(MASK_HATCHES)]
    if mask.any():
        with plt.rc_context({"hatch.linewidth": 0.6}):
            contours = axis.contourf(
                np.pad(mask, 1),
                levels=[0.5, 1.5],
                colors=[colour],
                alpha=0.35,
                hatches=[hatch],
                origin=None,
                extent=(-1, mask.shape[1], -1, mask.shape[0]),
            )
            contours.set_edgecolor(colour)
    if label:
        axis.fill_between([], [], [], facecolor=colour, alpha=0.5, hatch=hatch, edgecolor=colour, label=label)


def masked_image(image, masks: dict, width: float = 10.0) -> Figure:
    """An image under several masks, `{label: h w bool}`, with a legend."""
    figure = image_grid([[image]], width=width)
    axis = figure.axes[0]
    limits = axis.get_xlim(), axis.get_ylim()
    for kind, (label, mask) in enumerate(masks.items()):
        draw_mask(axis, mask, kind, label)
    axis.set(xlim=limits[0], ylim=limits[1])
    figure.legend(loc="outside lower center", ncols=len(masks), frameon=False)
    return figure


def value_map(
    values,
    label: str,
    colour_map: str = ERROR_MAP,
    low: float | None = None,
    high: float | None = None,
    width: float = 10.0,
) -> Figure:
    """A map `h w` of numbers (error, weight, …) with its colour bar."""
    figure = image_grid([[values]], width=width)
    image = figure.axes[0].images[0]
    image.set(
        cmap=colour_map,
        clim=(
            np.nanmin(to_image(values)) if low is None else low,
            np.nanmax(to_image(values)) if high is None else high,
        ),
    )
    figure.colorbar(image, ax=figure.axes[0], label=label, fraction=0.03)
    return figure


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
    axis = figure.add_subplot(projection="3d")
    axis.scatter(x, z, -y, c=colours, s=1.5, linewidths=0)  # pyright: ignore[reportArgumentType] the stub wants an int
    axis.set(xlabel="x (right)", ylabel="z (forward)", zlabel="−y (up)")
    axis.set_aspect("equal")
    axis.view_init(elevation, -90 + azimuth)
    return figure
