"""Metrics, figures and claims of the DDPM."""
