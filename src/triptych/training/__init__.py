"""The training loop, checkpoints and optimisers. It knows no method and no measure."""
