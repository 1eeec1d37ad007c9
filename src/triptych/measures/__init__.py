"""Measures, statistics and confidence intervals that several studies use."""
