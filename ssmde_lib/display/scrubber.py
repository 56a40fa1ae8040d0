"""Stored pictures to leaf through with a slider: HTML that works in JupyterLab, VS Code, exported pages and the book.

    scrub({"frame 0": image, "frame 1": other}, name="frame", alt="a street", caption="A drive.")

It needs no kernel and no network, and its two handlers stand in the elements themselves (scrubber.html): a page that
runs no script shows the first picture. Beside the HTML stands a PNG, for slides
and for readers that take pictures only.
"""

import base64
import html
import io
import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from string import Template

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ssmde_lib.display.figures import contact_sheet, display_bundle, picture, to_image

COLUMN = 880  # pixels of a page; an image is enlarged by the largest whole number that fits
SHEET = 8  # pictures of a sheet that stands for all


def scrub(
    pictures: Mapping[str, np.ndarray | Figure], *, name: str, alt: str, caption: str = "", start: int = 0
) -> None:
    """Show pictures one at a time, with a slider, a button that plays them, and the label of the one shown.

    Args:
        pictures: by their labels; images `h w 3` or `h w` as in `figures`, or figures, which are closed.
        name: what varies, of the slider.
        alt: what all of them show; the label of the one shown is added.
        caption: below it.
        start: place of the picture shown first.
    """
    labels = list(pictures)
    figures = [figure for figure in pictures.values() if isinstance(figure, Figure)]
    if figures:
        bundles = [picture(figure, alt) for figure in figures]
        drawn = [np.asarray(Image.open(io.BytesIO(data["image/png"])).convert("RGB")) for data, _ in bundles]
        sources = [data_uri(encode(image, quality=85)) for image in drawn]
        data, metadata = bundles[start]
        style = f"width:{metadata['image/png']['width']}px"
    else:
        images = [to_image(image) for image in pictures.values()]
        sources = [data_uri(encode(image, lossless=True)) for image in images]
        chosen = np.unique(np.linspace(0, len(images) - 1, SHEET).astype(int))
        sheet = contact_sheet([images[k] for k in chosen], titles=[textwrap.fill(labels[k], 26) for k in chosen])
        data, metadata = picture(sheet, alt)
        width = images[0].shape[1]
        style = f"width:{width * max(1, COLUMN // width)}px;image-rendering:pixelated"
    page = {"pictures": json.dumps(list(zip(sources, labels, strict=True)), ensure_ascii=False)}
    page |= {"source": sources[start], "label": labels[start], "start": start, "last": len(sources) - 1}
    data["text/html"] = fill("scrubber.html", page | {"name": name, "alt": alt, "style": style})
    display_bundle(data, metadata, caption)


def fill(name: str, values: Mapping[str, object]) -> str:
    """A page of this folder with its `$values` filled in; all are escaped."""
    escaped = {key: html.escape(str(value)) for key, value in values.items()}
    return Template(Path(__file__).with_name(name).read_text()).substitute(escaped)


def encode(image: np.ndarray, **options) -> bytes:
    """WebP of an image `h w` or `h w 3`, uint8 or float in [0, 1]; options are Pillow's, such as `lossless`."""
    image = image if image.dtype == np.uint8 else (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", **options)
    return buffer.getvalue()


def data_uri(content: bytes, kind: str = "webp") -> str:
    """An image as an address that holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
