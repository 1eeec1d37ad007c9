"""Build datasets from sources of images, and load them from disk."""
