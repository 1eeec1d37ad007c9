"""Weighted k-nearest-neighbour classification of features (Wu et al. 2018, arXiv:1805.01978), in blocks."""

import torch
from torch import Tensor
from torch.nn import functional

# Queries at a time: with a bank of 50,000 images their similarities take 100 MB.
BLOCK = 512


@torch.no_grad()
def knn_classes(
    queries: Tensor, bank: Tensor, labels: Tensor, k: int = 200, temperature: float = 0.1, block: int = BLOCK
) -> Tensor:
    """Return the class (N,) of each query (N, d) by the votes of its k nearest images in a bank (M, d).

    A vote weighs exp(cosine / temperature); the lowest class wins a tie. If M < k, all vote; images of class -1 are
    ignored. Runs in float32 on the device of the bank, `block` queries at a time.
    """
    if min(k, temperature, block) <= 0:
        raise ValueError(f"k = {k}, temperature = {temperature} and block = {block} must be positive")
    labels = labels.to(bank.device, torch.int64)
    bank, labels = bank[labels >= 0], labels[labels >= 0]
    if not len(bank):
        raise ValueError("no image of the bank is labelled, so none can vote")
    if not (bool(torch.isfinite(bank).all()) and bool(torch.isfinite(queries).all())):
        raise ValueError("features hold values that are not finite, so they have no neighbours")

    directions = functional.normalize(bank.float(), dim=1)
    k, classes = min(k, len(bank)), int(labels.max()) + 1
    predicted = []
    for rows in queries.split(block):
        cosines = functional.normalize(rows.to(bank.device).float(), dim=1) @ directions.T
        similarities, neighbours = cosines.topk(k, dim=1)
        # Relative to the nearest neighbour, which scales all votes of a query alike, no temperature overflows.
        weights = ((similarities - similarities.amax(dim=1, keepdim=True)) / temperature).exp()
        # One masked sum per class: scattered additions are not deterministic on a GPU.
        votes = [weights.where(labels[neighbours] == c, 0).sum(dim=1) for c in range(classes)]
        predicted.append(torch.stack(votes, dim=1).argmax(dim=1))
    return torch.cat(predicted)
