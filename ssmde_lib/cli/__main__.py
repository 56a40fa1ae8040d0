"""`python -m ssmde_lib.cli`: the command line where a launcher needs a module."""

from ssmde_lib.cli import main

if __name__ == "__main__":
    main()
