"""The study of the VAE."""
