"""Prepare TUM RGB-D sequences: official folders in, clips of the one on-disk layout out (docs/data.md)."""

from ssmde_lib.data.tum import TumSequence, preparation

main = preparation(TumSequence, __doc__)

if __name__ == "__main__":
    main()
