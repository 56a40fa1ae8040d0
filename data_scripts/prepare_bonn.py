"""Prepare BONN RGB-D sequences: official folders in, clips of the one on-disk layout out (docs/data.md)."""

from ssmde_lib.data.bonn import BonnSequence
from ssmde_lib.data.tum import preparation

main = preparation(BonnSequence, __doc__)

if __name__ == "__main__":
    main()
