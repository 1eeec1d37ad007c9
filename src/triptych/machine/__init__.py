"""Device, precision, forked processes and random numbers."""
