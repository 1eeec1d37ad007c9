"""Measure the images per second of the VAE's training; no time is asserted."""

from pathlib import Path

import pytest
import torch

from triptych.core.schema import read
from triptych.vae.model import VAE
from triptych.vae.objective import VAEObjective
from triptych.vae.params import VAEParams

PARAMS = Path(__file__).parents[2] / "params.yaml"
SHAPE = (3, 32, 32)


@pytest.mark.benchmark(group="train step")
def test_vae_train_step(time_steps):
    study = read(PARAMS, vae=VAEParams).vae
    torch.manual_seed(0)
    network = VAE(image_shape=SHAPE, **study.network.model_dump())
    time_steps(VAEObjective(network, study.likelihood_sigma), study.training, SHAPE)
