"""Study 3: self-supervised learning with SimSiam, ablations of SimSiam, and competing methods."""
