"""Device and precision, forked processes, random numbers on a device."""
