"""Sources of images, from which the stage `prepare` builds the datasets."""
