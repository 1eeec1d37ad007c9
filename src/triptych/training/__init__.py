"""Training loop, checkpoints and optimisers. This package imports no training method and no quality measure."""
