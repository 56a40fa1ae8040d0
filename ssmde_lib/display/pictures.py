"""The README's pictures, made of a run: an animation of its networks, and a thumbnail of each notebook."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import click
import nbformat
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from ssmde_lib.data.layout import Clip, find_clips
from ssmde_lib.display.figures import png_outputs
from ssmde_lib.errors import UserError
from ssmde_lib.files import make_folder
from ssmde_lib.inference.colours import colourise
from ssmde_lib.inference.predictor import Predictor

NETWORKS = {"base network": "04_pose_and_depth", "teacher": "06_teacher", "student": "08_student"}
ENLARGED, GAP, TITLE = 2, 8, 14  # factor; pixels between panels; pixels of a title's line
FRAME_MILLISECONDS = 120
THUMBNAIL = (320, 200)  # pixels, at most


def write_pictures(run_folder: Path, out: Path, clips: int = 2) -> list[Path]:
    """Write depth.webp (animated), depth.png (its middle frame) and NN.webp of each executed notebook with a figure.

    Args:
        run_folder: of a finished run.
        out: folder of the pictures.
        clips: so many test clips are shown, one after the other.
    """
    make_folder(out)
    networks = {title: run_folder / stage / "depth.safetensors" for title, stage in NETWORKS.items()}
    if missing := [str(path) for path in networks.values() if not path.is_file()]:
        raise UserError(f"{missing[0]} does not exist: finish the run by `make tutorial` first.")
    predictors = {title: Predictor.load(path) for title, path in networks.items()}
    shown = find_clips(run_folder / "01_data", "test")[:clips]
    frames = [frame for clip in shown for frame in animate(clip, predictors)]
    animation, still = out / "depth.webp", out / "depth.png"
    frames[0].save(animation, save_all=True, append_images=frames[1:], duration=FRAME_MILLISECONDS, loop=0, quality=80)
    frames[len(frames) // 4].save(still, optimize=True)
    return [animation, still, *write_thumbnails(run_folder, out)]


def animate(clip: Clip, predictors: dict[str, Predictor]) -> list[Image.Image]:
    """A picture per frame: the image and the depth of each network, near bright, one range of colours a network."""
    images = np.stack([clip.image(i) for i in range(len(clip))])
    columns = {"image": list(images)}
    for title, predictor in predictors.items():
        columns[title] = coloured(predictor(images))
    return [panel({title: column[i] for title, column in columns.items()}) for i in range(len(clip))]


def coloured(depths: Float[np.ndarray, "n h w"]) -> list[UInt8[np.ndarray, "h w 3"]]:
    """Depths of a clip as colours of one range."""
    near, far = np.percentile(depths, (2, 98))
    return [colourise(depth, near, far) for depth in depths]


def panel(pictures: dict[str, UInt8[np.ndarray, "h w 3"]], columns: int = 2) -> Image.Image:
    """Titled pictures of one size in rows, enlarged by whole pixels."""
    height, width = (ENLARGED * side for side in next(iter(pictures.values())).shape[:2])
    rows = -(-len(pictures) // columns)
    size = (columns * width + (columns - 1) * GAP, rows * (height + TITLE) + (rows - 1) * GAP)
    whole = Image.new("RGB", size, "white")
    for place, (title, picture) in enumerate(pictures.items()):
        x, y = place % columns * (width + GAP), place // columns * (height + TITLE + GAP)
        ImageDraw.Draw(whole).text((x, y), title, fill="black")
        whole.paste(Image.fromarray(picture).resize((width, height), Image.Resampling.NEAREST), (x, y + TITLE))
    return whole


def write_thumbnails(run_folder: Path, out: Path) -> list[Path]:
    """The most colourful figure of each executed notebook, made small: pictures tell more than curves there."""
    written = []
    for path in sorted((run_folder / "notebooks").glob("*.ipynb")):
        if figures := figures_of(nbformat.read(path, as_version=4)):
            figure = max(figures, key=lambda image: np.asarray(image.convert("HSV"))[..., 1].sum(dtype=int))
            figure.thumbnail(THUMBNAIL)
            written.append(out / f"{path.stem.split('_')[0]}.webp")
            figure.save(written[-1], quality=75)
    return written


def figures_of(notebook: nbformat.NotebookNode) -> Sequence[Image.Image]:
    """The PNG outputs of an executed notebook."""
    pngs = [base64.b64decode(output.data["image/png"]) for output in png_outputs(notebook.cells)]
    return [Image.open(io.BytesIO(png)).convert("RGB") for png in pngs]


@click.command()
@click.argument("run_folder", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("docs/pictures"), show_default=True)
def pictures(run_folder: Path, out: Path) -> None:
    """Write the README's pictures from the finished RUN_FOLDER, such as runs/laptop."""
    written = write_pictures(run_folder, out)
    click.echo(f"{out}: {len(written)} pictures, {sum(path.stat().st_size for path in written) / 1e6:.1f} MB")
