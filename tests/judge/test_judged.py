"""Output of the judge: the probabilities of its network, for any batch size."""

import numpy as np
import pytest
import torch

from triptych.data.storage import Dataset, Split
from triptych.judge.measure import Judge, Judged, judge_quality
from triptych.judge.model import Classifier
from triptych.nn.weights import save_model


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def classifier(one_thread) -> Classifier:
    torch.manual_seed(0)
    return Classifier(in_channels=3, classes=4, width=4, blocks=[1, 1], stem_stride=2).eval()


def test_the_output_of_the_judge_does_not_depend_on_the_batch_size(classifier):
    images = pixels(11, 3, 16, 16)
    whole = Judge(classifier, torch.device("cpu"), batch_size=11)(images)
    for size in (1, 4, 100):
        parts = Judge(classifier, torch.device("cpu"), batch_size=size)(images)
        np.testing.assert_allclose(parts.features, whole.features, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(parts.probabilities, whole.probabilities, rtol=1e-4, atol=1e-5)


def test_the_judge_applies_its_network_to_images_scaled_to_minus_one_to_one(classifier):
    images = pixels(5, 3, 16, 16)
    verdicts = Judge(classifier, torch.device("cpu"), batch_size=2)(images)
    with torch.no_grad():
        logits = classifier(torch.from_numpy(images).float() / 127.5 - 1)
    expected = logits.softmax(dim=1).numpy()
    np.testing.assert_allclose(verdicts.probabilities, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(verdicts.probabilities.sum(axis=1), 1, rtol=1e-5)
    assert verdicts.features.shape == (5, classifier.backbone.feature_size)
    assert verdicts.classes().tolist() == expected.argmax(axis=1).tolist()
    threshold = float(np.median(expected.max(axis=1)))
    assert verdicts.recognised(threshold).sum() == (expected.max(axis=1) >= threshold).sum()


def test_a_loaded_judge_has_the_same_output(tmp_path, classifier):
    config = {"network": {"in_channels": 3, "classes": 4, "width": 4, "blocks": [1, 1], "stem_stride": 2}}
    save_model(tmp_path, classifier, config)
    images = pixels(3, 3, 16, 16)
    loaded = Judge.load(tmp_path, torch.device("cpu"), 3)(images)
    direct = Judge(classifier, torch.device("cpu"), 3)(images)
    np.testing.assert_allclose(loaded.probabilities, direct.probabilities, rtol=1e-5)


def test_the_quality_of_the_judge_is_its_accuracy_and_recognition_rate():
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]], np.float32)
    test = Split(pixels(4, 3, 16, 16), np.array([0, 1, 1, 1]))
    data = Dataset(test, test, ["a", "b"], "", "")
    result = judge_quality(Judged(np.zeros((4, 2)), probabilities), data, threshold=0.75, level=0.95)
    assert result["test_accuracy"].value == 0.75 and result["test_recognisability"].value == 0.5
    assert all(0 <= number.low < number.value < number.high <= 1 for number in result.values())
