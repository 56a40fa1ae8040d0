"""Data sets: one on-disk layout (`clip`), one adapter a benchmark that writes it."""
