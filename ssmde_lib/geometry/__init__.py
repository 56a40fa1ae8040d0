"""Cameras and rigid motion: what of a scene's geometry needs no network."""
