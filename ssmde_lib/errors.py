"""The one exception for bad input."""

import click


class UserError(click.ClickException):
    """Bad input: one clear sentence that names the file or parameter and the way out.

    A command line built with click prints it as `Error: …` and exits with code 1.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback."""
        return [f"UserError: {self.message}"]
