"""Descriptions of the VAE's metrics, figures and claims."""
