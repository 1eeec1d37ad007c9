"""Files, errors, seeds and the base class of the params schema. This package does not import torch."""
