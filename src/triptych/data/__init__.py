"""Build image datasets, save them, and load them from disk."""
