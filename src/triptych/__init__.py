"""Triptych: three studies of unsupervised learning (VAE, DDPM and SimSiam) in one reproducible DVC pipeline."""

import os
import time

__version__ = "0.2.0"
# CPUs that this process may use. Importing torch with OMP_PROC_BIND binds the process to one of them.
CPUS = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
STARTED = time.time()  # when the process started, up to the 0.05 s that Python itself needs
