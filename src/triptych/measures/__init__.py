"""Measures that studies share, intervals and statistics."""
