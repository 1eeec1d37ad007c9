"""Measures that several studies use, intervals and statistics."""
