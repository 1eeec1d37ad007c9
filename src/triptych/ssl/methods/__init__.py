"""Self-supervised methods, one per module: the schema of their settings, and their loss."""
