"""Weighted k-nearest-neighbour classification of features (Wu et al. 2018, arXiv:1805.01978)."""

import torch
from torch import Tensor
from torch.nn import functional

# Queries per block. Their similarities to a bank of 50,000 images occupy 100 MB.
BLOCK = 512


@torch.no_grad()
def knn_classes(
    queries: Tensor, bank: Tensor, labels: Tensor, k: int = 200, temperature: float = 0.1, block: int = BLOCK
) -> Tensor:
    """Classify queries (N, d) by a vote of their k nearest neighbours in a bank (M, d), and return the classes (N,).

    `labels` (M,) contains the class of each feature in the bank. Features with label -1 are ignored. If fewer than k
    features remain, all of them vote. A vote has the weight exp(cosine similarity / temperature). The lowest class wins
    a tie. Similarities are computed on the device of the bank, for `block` queries at a time.
    """
    if min(k, temperature, block) <= 0:
        raise ValueError(f"k, temperature and block must be positive, got {k}, {temperature} and {block}")
    labels = labels.to(bank.device, torch.int64)
    bank, labels = bank[labels >= 0], labels[labels >= 0]
    if not len(bank):
        raise ValueError("bank must contain at least one labelled image")
    if not (bool(torch.isfinite(bank).all()) and bool(torch.isfinite(queries).all())):
        raise ValueError("queries and bank must be finite, but contain NaN or infinity")

    directions = functional.normalize(bank.float(), dim=1)
    k, classes = min(k, len(bank)), int(labels.max()) + 1
    predicted = []
    for rows in queries.split(block):
        cosines = functional.normalize(rows.to(bank.device).float(), dim=1) @ directions.T
        similarities, neighbours = cosines.topk(k, dim=1)
        # The similarity to the nearest neighbour is subtracted, so that no temperature overflows.
        weights = ((similarities - similarities.amax(dim=1, keepdim=True)) / temperature).exp()
        # One masked sum per class, because scatter_add is not deterministic on a GPU.
        votes = [weights.where(labels[neighbours] == c, 0).sum(dim=1) for c in range(classes)]
        predicted.append(torch.stack(votes, dim=1).argmax(dim=1))
    return torch.cat(predicted)
