"""The one exception for bad input."""

import click


class UserError(click.ClickException):
    """Bad input: one clear sentence that names the file or parameter and the way out.

    A command line built with click prints it as `Error: …` and exits with code 1.
    """
