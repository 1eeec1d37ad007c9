"""Triptych: three studies of learning without labels, in one reproducible pipeline."""
