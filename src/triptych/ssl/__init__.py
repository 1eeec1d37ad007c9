"""Study 3: SimSiam, its ablations and rivals."""
