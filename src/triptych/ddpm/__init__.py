"""Denoising diffusion: networks, processes, losses, params."""
