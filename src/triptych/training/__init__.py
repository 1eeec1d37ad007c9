"""One loop for every method: device, precision, schedules, EMA, checkpoints, timing, processes."""
