"""Confidence intervals, statistics, and measures that several studies use."""
