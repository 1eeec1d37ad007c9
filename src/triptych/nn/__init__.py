"""Encoders that several studies share, and weights on disk."""
