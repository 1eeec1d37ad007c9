"""Compiled CPU kernels that compute the same functions as plain torch code."""
