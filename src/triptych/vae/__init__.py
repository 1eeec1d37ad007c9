"""The variational autoencoder: network, loss, params."""
