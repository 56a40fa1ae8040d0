"""Figures, widgets and pages."""
