"""Triptych's training beside that of other libraries: `python -m benchmarks.peers`."""
