"""Study 1: the variational autoencoder."""
