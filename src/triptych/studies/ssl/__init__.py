"""The study of SimSiam, its ablations and rivals."""
