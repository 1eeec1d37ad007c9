"""Encoders that turn an image into features; the judge and the third study use them."""
