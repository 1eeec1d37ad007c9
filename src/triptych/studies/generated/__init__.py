"""What the studies of the VAE and the DDPM have in common: measures of images, and figures of training and samples."""
