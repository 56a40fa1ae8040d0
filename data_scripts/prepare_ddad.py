"""Prepare DDAD (DGP layout): official folders in, clips of the one on-disk layout out (docs/data.md)."""

import click

from ssmde_lib.data.ddad import DdadScene, download_ddad, find_scenes
from ssmde_lib.data.prepare import prepare, script_options


@click.command(help=__doc__)
@script_options(DdadScene, "DDAD.tar (257 GB)")
@click.option("--sequences", multiple=True, help="Only this scene (its folder's name); may be repeated.")
@click.option("--camera", default="CAMERA_01", show_default=True)
def main(raw, out, height, width, sequences, camera, split, download, url, **settings):
    if download:
        download_ddad(raw, url, camera=camera)
    prepare(find_scenes(raw, sequences, camera, split), out, (height, width), **settings)


if __name__ == "__main__":
    main()
