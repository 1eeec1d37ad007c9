"""Sources of images, from which only the stage `prepare` builds datasets."""
