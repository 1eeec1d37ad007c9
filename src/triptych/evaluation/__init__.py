"""Numbers from trained models."""
