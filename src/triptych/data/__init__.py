"""Prepared images on disk and in batches."""
