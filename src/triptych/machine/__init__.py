"""Device, precision, tasks in forked processes, and random numbers."""
