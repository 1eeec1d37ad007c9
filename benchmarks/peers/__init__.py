"""Triptych's training compared with that of other libraries: `python -m benchmarks.peers`."""
