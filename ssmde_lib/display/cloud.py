"""Point clouds that a hand turns: WebGL of our own, in the notebook and in static pages, without kernel or network."""

import base64
from pathlib import Path

import numpy as np

from ssmde_lib.display.figures import display_bundle, picture, point_cloud
from ssmde_lib.display.scrubber import data_uri, fill

SCRIPT = Path(__file__).with_name("cloud.js")
LIMIT = 12_000  # points; each takes 12 bytes of the page
HELP = "Drag or use the arrow keys to turn, + and − to zoom, a double click to return."


def show_cloud(points, colours, *, alt: str, caption: str = "", azimuth: float = 20.0, elevation: float = 20.0) -> None:
    """Show points `n 3` (camera frame: x right, y down, z forward) in their colours `n 3`, to be turned by hand.

    At most `LIMIT` points are drawn. Where no script runs, or WebGL is absent, a still picture stands in its place.
    """
    points, colours = np.asarray(points, np.float32), np.asarray(colours)
    colours = colours if colours.dtype == np.uint8 else (np.clip(colours, 0, 1) * 255).round().astype(np.uint8)
    step = -(-len(points) // LIMIT)
    points, colours = points[::step], colours[::step]
    data, metadata = picture(point_cloud(points, colours, azimuth, elevation), alt)
    source, width = data_uri(data["image/png"], "png"), metadata["image/png"]["width"]
    places, kept = quantise(points)
    page = fill("cloud.html", {
        "alt": alt, "help": HELP, "source": source, "width": width, "turn": f"{-azimuth},{elevation}",
        "places": encode(places), "colours": encode(colours[kept]),
    })  # fmt: skip
    data["text/html"] = page.replace("<script>", f"<script>{SCRIPT.read_text()}")
    display_bundle(data, metadata, caption)


def quantise(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points `n 3` in a cube from 0 to 65535, which the middle 98 % of the longest side fill, and which lie in it."""
    low, high = np.percentile(points, [1, 99], axis=0)
    scaled = (points - (low + high) / 2) / max(float((high - low).max()), 1e-9) + 0.5
    kept = ((scaled >= 0) & (scaled <= 1)).all(1)
    return (scaled[kept] * 65535).round().astype("<u2"), kept


def encode(array: np.ndarray) -> str:
    """The array's bytes as base64."""
    return base64.b64encode(array.tobytes()).decode()
