"""Triptych: three studies of learning without labels, in one reproducible pipeline."""

import time

__version__ = "0.2.0"
STARTED = time.time()  # when the process started, up to the 0.05 s that Python itself needs
