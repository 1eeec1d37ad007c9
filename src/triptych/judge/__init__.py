"""The judge: a supervised classifier that evaluates everything generated."""
