"""The reference classifier ("judge") that evaluates generated images."""
