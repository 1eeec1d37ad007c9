"""Compiled kernels for CPUs, each next to its plain torch reference."""
