"""How prepared images lie on disk and are drawn in batches."""
