"""Prepare KITTI raw: official folders in, clips of the one on-disk layout out (docs/data.md)."""

import click

from ssmde_lib.data.kitti import KittiDrive, download_drives, find_drives
from ssmde_lib.data.prepare import prepare, script_options


@click.command(help=__doc__)
@script_options(KittiDrive, "the named drives")
@click.option("--drives", multiple=True, help="Only this drive (0005 or 2011_09_26_drive_0005); may be repeated.")
@click.option("--cameras", multiple=True, default=("02", "03"), show_default=True)
@click.option("--lists", help="Folder of the Eigen-Zhou lists that you fetched: exactly their frames (of --split).")
@click.option("--improved", help="Unpacked data_depth_annotated.zip: its ground truth instead of the single sweep.")
def main(raw, out, height, width, drives, cameras, split, lists, improved, download, url, **settings):
    if download:
        download_drives(raw, drives, url)
    prepare(find_drives(raw, drives, cameras, split, lists, improved), out, (height, width), **settings)


if __name__ == "__main__":
    main()
