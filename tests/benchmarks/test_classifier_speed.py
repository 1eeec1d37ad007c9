"""Measure the images per second of the judge's training; no time is asserted."""

from pathlib import Path

import pytest
import torch

from triptych.core.schema import read
from triptych.judge.model import ClassificationObjective, Classifier
from triptych.judge.params import ClassifierParams

PARAMS = Path(__file__).parents[2] / "params.yaml"
SHAPE, CLASSES = (3, 32, 32), 10


@pytest.mark.benchmark(group="train step")
def test_classifier_train_step(time_steps):
    study = read(PARAMS, classifier=ClassifierParams).classifier
    torch.manual_seed(0)
    network = Classifier(in_channels=SHAPE[0], classes=CLASSES, **study.network.model_dump())
    time_steps(ClassificationObjective(network, study.mixup), study.training, SHAPE, CLASSES)
