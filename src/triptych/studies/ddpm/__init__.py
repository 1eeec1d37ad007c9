"""The study of the DDPM."""
