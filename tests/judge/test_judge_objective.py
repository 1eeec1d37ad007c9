"""Training objectives of the judge: class labels, or the rotation of unlabelled images."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from triptych.judge.model import QUARTER_TURNS, ClassificationObjective, Classifier, TurnObjective, turned
from triptych.machine.randomness import Draw
from triptych.training.objective import Batch

pytestmark = pytest.mark.usefixtures("one_thread")


def network() -> Classifier:
    torch.manual_seed(0)
    return Classifier(in_channels=3, classes=QUARTER_TURNS, width=8, blocks=[1], stem_stride=2).eval()


def draw() -> Draw:
    return Draw("cpu", (0, "step", 0))


def test_each_image_is_rotated_by_its_own_number_of_quarter_turns():
    images, quarters = torch.randn(9, 3, 6, 6), torch.arange(9) % QUARTER_TURNS
    for image, quarter, result in zip(images, quarters, turned(images, quarters), strict=True):
        np.testing.assert_array_equal(result.numpy(), np.rot90(image.numpy(), int(quarter), axes=(1, 2)))


def test_the_loss_of_rotations_does_not_depend_on_labels():
    images, one = torch.randn(16, 3, 8, 8), network()
    quarters = draw().integers(0, QUARTER_TURNS, (16,))
    assert len(quarters.unique()) > 1
    expected = functional.cross_entropy(one(turned(images, quarters)), quarters)
    for labels in (torch.full((16,), -1), torch.zeros(16, dtype=torch.int64)):
        loss, terms = TurnObjective(one, mixup=0.0)(Batch(images, labels), draw())
        torch.testing.assert_close(loss, expected)
        assert 0 <= terms["accuracy"] <= 1


def test_half_the_images_are_blended_with_their_neighbour():
    images, labels, one = torch.randn(64, 3, 8, 8), torch.arange(64) % QUARTER_TURNS, network()
    share = 0.5 * (2 * draw().uniform((64, 1))[:, 0] - 1).clamp(min=0)
    assert 0.3 < (share == 0).float().mean() < 0.7
    logits = one(images + share.view(-1, 1, 1, 1) * (images.roll(1, 0) - images))
    own, other = (functional.cross_entropy(logits, y, reduction="none") for y in (labels, labels.roll(1)))
    expected = (own + share * (other - own)).mean()
    loss, _ = ClassificationObjective(one, mixup=0.5)(Batch(images, labels), draw())
    torch.testing.assert_close(loss, expected)
