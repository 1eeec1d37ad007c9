"""Measure the images per second of each SSL variant's training, in two views each; no time is asserted."""

from pathlib import Path

import pytest
import torch

from triptych.core.schema import read
from triptych.ssl.shared.params import SSLParams
from triptych.ssl.shared.recipes import method, recipe

SHAPE = (3, 32, 32)
STUDY = read(Path(__file__).parents[2] / "params.yaml", ssl=SSLParams).ssl


@pytest.mark.benchmark(group="train step")
@pytest.mark.parametrize("name", STUDY.variants)
def test_ssl_train_step(time_steps, name):
    torch.manual_seed(0)
    chosen = recipe(STUDY, name)
    objective, _ = method(STUDY.variants[name].method).build(chosen, SHAPE[0])
    time_steps(objective, chosen.training, SHAPE)
