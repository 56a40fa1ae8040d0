"""Prepare NYU Depth v2: official files in, clips of the one on-disk layout out (docs/data.md)."""

import click

from ssmde_lib.data.nyu import NyuSequence, download_labelled, find_scenes
from ssmde_lib.data.prepare import prepare, script_options


@click.command(help=__doc__)
@script_options(NyuSequence, "the labelled set (3 GB)")
@click.option("--sequences", multiple=True, help="Only this scene of the raw video; may be repeated.")
def main(raw, out, height, width, sequences, split, download, url, **settings):
    if download:
        download_labelled(raw, url)
    prepare(find_scenes(raw, sequences, split), out, (height, width), **settings)


if __name__ == "__main__":
    main()
