"""Read or generate the images from which the stage `prepare` builds the datasets."""
