"""One module per method: its recipe and its loss."""
