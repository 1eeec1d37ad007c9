"""Encoders that several studies use, and functions that save and load weights."""
