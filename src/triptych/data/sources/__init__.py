"""Sources of images, which `prepare` alone runs."""
