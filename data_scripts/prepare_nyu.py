"""Prepare NYU Depth v2: official files in, clips of the one on-disk layout out (docs/data.md)."""

import click

from ssmde_lib.data.nyu import NyuSequence, download_labelled, find_scenes
from ssmde_lib.data.prepare import prepare, script_options


@click.command(help=__doc__)
@script_options(NyuSequence.SIZE)
@click.option("--sequences", multiple=True, help="Only this scene of the raw video; may be repeated.")
@click.option(
    "--split", type=click.Choice(["train", "val", "test"]), help="Put raw scenes into this split, instead of by rule."
)
@click.option("--download", is_flag=True, help="Fetch the labelled set (3 GB) into RAW first.")
@click.option("--url", default=NyuSequence.URL, show_default=True, help="Server or mirror to download from.")
def main(raw, out, height, width, sequences, split, download, url, **settings):
    if download:
        download_labelled(raw, url)
    prepare(find_scenes(raw, sequences, split), out, (height, width), **settings)


if __name__ == "__main__":
    main()
