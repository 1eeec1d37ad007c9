"""The machine: device and precision, processes, clock, randomness on a device."""
