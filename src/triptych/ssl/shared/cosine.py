"""Embeddings compared by their directions, as the methods that compare views and the measures of collapse do."""

import torch
from torch import Tensor
from torch.nn import functional


def negative_cosine(p: Tensor, z: Tensor) -> Tensor:
    """D(p, z) = -(p / |p|) · (z / |z|), the mean over (B, dim) rows: -1 where all agree.

    Equation 1 of SimSiam (Chen & He 2021, arXiv:2011.10566).
    """
    return -functional.cosine_similarity(p, z, dim=1).mean()


@torch.no_grad()
def spread(z: Tensor) -> Tensor:
    """Mean over channels of the deviation of z / |z|, times sqrt(dim), of (B, dim): 1 healthy, 0 collapsed.

    Section 4.1 of SimSiam (Chen & He 2021, arXiv:2011.10566).
    """
    return functional.normalize(z, dim=1).std(dim=0, correction=0).mean() * z.shape[1] ** 0.5
