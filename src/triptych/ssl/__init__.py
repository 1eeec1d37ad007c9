"""Study 3: self-supervised learning with SimSiam, its ablations and rival methods."""
