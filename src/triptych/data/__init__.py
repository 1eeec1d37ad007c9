"""Where images come from, how they lie on disk, and how batches of them are drawn."""
