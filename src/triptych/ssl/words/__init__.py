"""Metrics, figures and claims of SimSiam and its rivals."""
