"""Sources of images, and datasets on disk."""
