"""From trained weights to arrays of images."""
