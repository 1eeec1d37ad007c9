"""Files, errors, seeds and the base of the params schema. No torch."""
