"""Encoders that learn by comparing views of an image."""
