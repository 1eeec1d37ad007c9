"""Measures of images and features, and confidence intervals of these measures."""
