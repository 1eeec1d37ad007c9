"""Encoders that several studies share, and files of weights."""
