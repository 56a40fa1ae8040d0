"""Exercises and their checks."""
