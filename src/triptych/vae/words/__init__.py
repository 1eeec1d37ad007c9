"""Metrics, figures and claims of the VAE."""
