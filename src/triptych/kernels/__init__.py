"""Loops for CPUs, compiled by numba, beside the operations of torch that they equal; on a GPU torch's run."""
