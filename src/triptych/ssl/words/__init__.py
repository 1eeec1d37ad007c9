"""Metrics, figures and claims of SimSiam and of competing methods."""
