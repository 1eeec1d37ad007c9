"""Freed memory stays with the process."""

import ctypes
import sys

# Parameters of glibc's mallopt, and the largest of a request that it serves from what was freed: all that glibc's older
# versions take, and above any tensor of a step. What a measurement makes of a whole split is larger, and goes back to
# the system.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGEST = 32 << 20
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tells glibc to give freed memory to the next tensor, not back to the system; whether there was a glibc to tell.

    Each step of a training frees what it made and asks for as much again. What the system takes back it returns as
    pages that must be mapped and cleared, one by one: 12,000 for a step of the DDPM, a twelfth of its time.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGEST)) and bool(mallopt(TRIM_THRESHOLD, NEVER))
