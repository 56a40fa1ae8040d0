"""The one exception for bad input."""


class UserError(Exception):
    """Bad input: one clear sentence that names the file or parameter and the way out."""
