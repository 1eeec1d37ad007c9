"""File access, user errors, random seeds and the base of the params.yaml schema. This package does not import torch."""
