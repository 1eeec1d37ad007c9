"""What every other part stands on: errors, files, randomness, the base of the params' schema, the machine."""
