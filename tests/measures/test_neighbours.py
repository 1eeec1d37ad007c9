"""kNN classification equals a direct implementation of its definition."""

import numpy as np
import pytest
import torch
from torch import Tensor

from triptych.measures.neighbours import knn_classes


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def clusters(count: int, classes: int, seed: int, distance: float = 1.0, channels: int = 6) -> tuple[Tensor, Tensor]:
    """Return shuffled features around one centre per class, and their classes."""
    labels = torch.from_numpy(np.random.default_rng(seed).permutation(count) % classes)
    return distance * numbers(classes, channels, seed=99)[labels] + numbers(count, channels, seed=seed), labels


def votes_one_by_one(queries: Tensor, bank: Tensor, labels: Tensor, k: int, temperature: float) -> list[int]:
    """Classify query by query, as in the definition, with the labelled images of the bank."""
    rows = [(np.asarray(x, dtype=np.float64), int(c)) for x, c in zip(bank, labels, strict=True) if c >= 0]
    found = []
    for query in np.asarray(queries, dtype=np.float64):
        cosine = [(x @ query / np.linalg.norm(x) / np.linalg.norm(query), c) for x, c in rows]
        votes = np.zeros(max(c for _, c in rows) + 1)
        for similarity, c in sorted(cosine, reverse=True)[:k]:
            votes[c] += np.exp(similarity / temperature)
        found.append(int(votes.argmax()))
    return found


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (7, 0.1), (20, 0.05), (20, 10.0), (60, 0.5)])
def test_knn_is_the_weighted_vote(k, temperature):
    (bank, labels), (queries, _) = clusters(90, 4, seed=1), clusters(50, 4, seed=2)
    found = knn_classes(queries, bank, labels, k, temperature)
    assert found.dtype == torch.int64 and found.shape == (50,)
    assert found.tolist() == votes_one_by_one(queries, bank, labels, k, temperature)


def test_the_temperature_decides_between_one_near_and_many_far_votes():
    bank = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.8, 0.6]])
    labels, query = torch.tensor([0, 1, 1]), torch.tensor([[2.0, 0.0]])
    assert knn_classes(query, bank, labels, temperature=0.1).tolist() == [0]  # 1 against 2 exp(-2)
    assert knn_classes(query, bank, labels, temperature=1.0).tolist() == [1]  # 1 against 2 exp(-0.2)
    # exp(1000) and exp(800) overflow.
    assert knn_classes(query, bank, 1 - labels, temperature=1e-3).tolist() == [1]


@pytest.mark.parametrize("block", [1, 3, 50, 1000])
def test_knn_answers_every_query_in_blocks_of_any_size(block):
    (bank, labels), (queries, _) = clusters(90, 4, seed=1), clusters(50, 4, seed=2)
    whole = votes_one_by_one(queries, bank, labels, 10, 0.1)
    assert knn_classes(queries, bank, labels, k=10, block=block).tolist() == whole


def test_knn_takes_the_whole_bank_where_k_is_larger():
    (bank, labels), (queries, _) = clusters(30, 3, seed=1), clusters(20, 3, seed=2)
    assert knn_classes(queries, bank, labels, k=200, temperature=0.3).tolist() == votes_one_by_one(
        queries, bank, labels, 30, 0.3
    )


def test_unlabelled_images_neither_vote_nor_take_a_place():
    (bank, labels), (queries, classes) = clusters(60, 3, seed=1, distance=4), clusters(20, 3, seed=2, distance=4)
    # An unlabelled copy of every query would be its nearest neighbour.
    with_copies, with_unknown = torch.cat([queries, bank]), torch.cat([torch.full_like(classes, -1), labels])
    found = knn_classes(queries, with_copies, with_unknown, k=5)
    assert found.tolist() == knn_classes(queries, bank, labels, k=5).tolist()
    assert (found == classes).float().mean() > 0.9
    with pytest.raises(ValueError, match="labelled"):
        knn_classes(queries, bank, torch.full_like(labels, -1))


@pytest.mark.parametrize("labels", [[2, 1, 1, 2], [1, 2, 2, 1]])
def test_the_lowest_class_wins_a_tie(labels):
    bank = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    queries = torch.tensor([[3.0, 0.0], [0.0, 0.5], [1.0, 1.0]])
    for block in (1, 2, 3):
        assert knn_classes(queries, bank, torch.tensor(labels), k=4, block=block).tolist() == [1, 1, 1]


def test_knn_sees_directions_only():
    (bank, labels), (queries, _) = clusters(90, 4, seed=1), clusters(50, 4, seed=2)
    lengths = torch.logspace(-3, 3, 90)[torch.randperm(90, generator=torch.Generator().manual_seed(0))]
    scaled = knn_classes(1e3 * queries, bank * lengths[:, None], labels, k=10)
    assert scaled.tolist() == knn_classes(queries, bank, labels, k=10).tolist()


def test_knn_refuses_what_it_cannot_answer():
    bank, labels = clusters(10, 2, seed=1)
    with pytest.raises(ValueError, match="finite"):
        knn_classes(bank * torch.nan, bank, labels)
    for setting in ({"k": 0}, {"temperature": 0.0}, {"block": 0}):
        with pytest.raises(ValueError, match="positive"):
            knn_classes(bank, bank, labels, **setting)
