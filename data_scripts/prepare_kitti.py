"""Prepare KITTI raw: official folders in, clips of the one on-disk layout out (docs/data.md)."""

import click

from ssmde_lib.datasets.kitti import KittiDrive, find_drives
from ssmde_lib.datasets.prepare import MIN_MOTION, prepare


@click.command(help=__doc__)
@click.option("--raw", required=True, help="Folder of the recording days (2011_09_26 …).")
@click.option("--out", required=True, help="Folder to write the prepared data set to.")
@click.option("--drives", multiple=True, help="Only this drive (0005 or 2011_09_26_drive_0005); may be repeated.")
@click.option("--height", default=KittiDrive.SIZE[0], show_default=True)
@click.option("--width", default=KittiDrive.SIZE[1], show_default=True)
@click.option("--limit", type=int, help="At most so many frames a drive and camera.")
@click.option("--min-motion", default=MIN_MOTION, show_default=True)
@click.option("--processes", default=2, show_default=True)
def main(raw, out, drives, height, width, limit, min_motion, processes):
    prepare(find_drives(raw, drives), out, (height, width), min_motion, limit, processes)


if __name__ == "__main__":
    main()
