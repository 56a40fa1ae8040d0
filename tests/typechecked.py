"""The checker of the library's annotations: beartype, which takes an int where a float is due (PEP 484)."""

from beartype import BeartypeConf, beartype

typechecked = beartype(conf=BeartypeConf(is_pep484_tower=True))
