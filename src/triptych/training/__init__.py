"""One loop for every method: it knows no method and no measure."""
