"""Comparison of Triptych's training speed with that of other libraries: `python -m benchmarks.peers`."""
