"""Measure the images per second, in two views each, of training the SSL variants of profile full."""

from pathlib import Path

import pytest
import torch

from triptych.cli.profiles import merged
from triptych.params import validated
from triptych.ssl.shared.recipes import method, recipe

SHAPE = (3, 32, 32)
ROOT = Path(__file__).parents[2]
STUDY = validated(merged("full", ROOT), ROOT / "profiles/full.yaml").ssl


@pytest.mark.benchmark(group="train step")
@pytest.mark.parametrize("name", STUDY.variants)
def test_ssl_train_step(time_steps, name):
    torch.manual_seed(0)
    chosen = recipe(STUDY, name)
    objective, _ = method(STUDY.variants[name].method).build(chosen, SHAPE[0])
    time_steps(objective, chosen.training, SHAPE)
