"""Study 2: the denoising diffusion model."""
