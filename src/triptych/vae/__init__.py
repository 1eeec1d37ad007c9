"""Variational autoencoder (VAE): network, training objective, sampling and evaluation."""
