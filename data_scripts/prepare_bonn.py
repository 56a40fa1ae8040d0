"""Prepare BONN RGB-D sequences: official folders in, clips of the one on-disk layout out (docs/data.md)."""

import click

from ssmde_lib.datasets.bonn import BonnSequence
from ssmde_lib.datasets.prepare import prepare, script_options
from ssmde_lib.datasets.tum import download_sequences, find_sequences


@click.command(help=__doc__)
@script_options(BonnSequence.SIZE)
@click.option("--sequences", multiple=True, help="Only this sequence; may be repeated.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Put all into this split, instead of by rule.")
@click.option("--download", is_flag=True, help="Fetch the named sequences into RAW first.")
@click.option("--url", default=BonnSequence.URL, show_default=True, help="Server or mirror to download from.")
def main(raw, out, height, width, sequences, split, download, url, **settings):
    if download:
        download_sequences(BonnSequence, raw, sequences, url)
    prepare(find_sequences(BonnSequence, raw, sequences, split), out, (height, width), **settings)


if __name__ == "__main__":
    main()
