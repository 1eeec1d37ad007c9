"""The judge: the reference classifier that evaluates generated images."""
