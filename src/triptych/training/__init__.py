"""Training loop, checkpoints and optimisers. This package does not depend on any method or measure."""
