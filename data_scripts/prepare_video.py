"""Prepare your own video or folder of pictures as a data set of the one on-disk layout (docs/data.md)."""

import click

from ssmde_lib.data.layout import SPLITS
from ssmde_lib.data.prepare import MIN_MOTION, prepare
from ssmde_lib.data.video import fitting_size, open_recording, require_apart, require_motion


@click.command(help=__doc__)
@click.argument("source")
@click.option("--out", required=True, help="Folder to write the prepared data set to.")
@click.option("--fov", type=float, help="Horizontal field of view in degrees.")
@click.option("--k-file", help="Text file with the 3x3 intrinsics for the pictures' original size.")
@click.option("--stride", default=1, show_default=True, help="Use every so-manieth frame.")
@click.option("--height", type=int, help="Default: what keeps the shape of the pictures.")
@click.option("--width", default=640, show_default=True)
@click.option("--limit", type=click.IntRange(1), help="At most so many frames a split.")
@click.option("--min-motion", default=MIN_MOTION, show_default=True, help="Drop frames that moved less, pixels of 160.")
@click.option("--split", type=click.Choice(SPLITS), help="Put all into this split, instead of by rule.")
def main(source, out, fov, k_file, stride, height, width, limit, min_motion, split):
    sequences = open_recording(source, fov, k_file, stride, split)
    size = (height, width) if height else fitting_size(sequences[0].image(0).shape[:2], width)
    require_apart(sequences, out)
    require_motion(prepare(sequences, out, size, min_motion, limit), source)


if __name__ == "__main__":
    main()
