"""Device, precision, forked processes, and random numbers on a device."""
