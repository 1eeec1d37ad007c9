"""Measure the queries per second of the kNN classifier; no time is asserted."""

import pytest
import torch
from torch import Tensor

from triptych.measures.neighbours import knn_classes

BANK, QUERIES, FEATURES, CLASSES = 12_000, 2_000, 128, 10


@pytest.mark.benchmark(group="evaluation")
def test_classifying_by_neighbours(benchmark, place):
    torch.manual_seed(0)
    bank, queries = (torch.randn(count, FEATURES, device=place.device) for count in (BANK, QUERIES))
    labels = torch.arange(BANK, device=place.device) % CLASSES

    def classify() -> Tensor:
        found = knn_classes(queries, bank, labels)
        place.synchronise()
        return found

    found = benchmark.pedantic(classify, rounds=5, warmup_rounds=1)
    assert len(found) == QUERIES
    if benchmark.enabled:
        benchmark.extra_info["images_per_second"] = QUERIES / benchmark.stats["min"]
        benchmark.extra_info |= place.describe()
