"""Triptych: three studies of learning without labels, in one reproducible pipeline."""

__version__ = "0.2.0"
