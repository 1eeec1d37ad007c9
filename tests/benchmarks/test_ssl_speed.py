"""How many images a second each variant of SimSiam trains on, two views of each. A measurement: nothing asserts."""

from pathlib import Path

import pytest
import torch

from triptych.core.schema import read
from triptych.ssl.shared.build import network_sizes, ssl_method
from triptych.ssl.shared.network import SiameseNetwork
from triptych.ssl.shared.params import SSLParams

SHAPE = (3, 32, 32)
STUDY = read(Path(__file__).parents[2] / "params.yaml", ssl=SSLParams).ssl


@pytest.mark.benchmark(group="train step")
@pytest.mark.parametrize("name", STUDY.variants)
def test_simsiam_train_step(time_steps, name):
    torch.manual_seed(0)
    network = SiameseNetwork(**network_sizes(STUDY, name, SHAPE[0]))
    time_steps(ssl_method(network, STUDY, name), STUDY.method(name).training, SHAPE)
