"""Pseudo-depth: providers of relative depth from single images, and the files they are kept in."""

from ssmde_lib.data.layout import read_pseudo_depth
from ssmde_lib.prior.providers import get_provider
from ssmde_lib.prior.pseudo_depth import write_pseudo_depth

__all__ = ["get_provider", "read_pseudo_depth", "write_pseudo_depth"]
