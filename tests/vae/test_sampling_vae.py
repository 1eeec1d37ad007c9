"""Samples of a VAE: complete, reproducible, and equal to the output of its network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_generative import CPU, EPOCHS, dataset, place, save_vae

from triptych.core.errors import InputError
from triptych.core.files import read_arrays
from triptych.nn.weights import load_model
from triptych.vae import sample
from triptych.vae.model import VAE
from triptych.vae.prior import load_mixture
from triptych.vae.sample import Codec, class_pairs, interpolation_paths, prior_draws, traversal_paths

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("vae")


@pytest.fixture(scope="module")
def arrays(folder) -> dict[str, np.ndarray]:
    return save_vae(folder).arrays(sample)


def test_everything_is_drawn_in_the_same_bits_whatever_the_precision_of_training(arrays, tmp_path):
    shapes = {name: array.shape for name, array in arrays.items()}
    image = (3, 32, 32)
    assert shapes == {
        "originals": (32, *image),
        "samples": (70, *image),
        "fitted_samples": (70, *image),
        "posterior_means": (80, 12),
        "interpolations": (5, 4, *image),
        "traversals": (8, 4, *image),
        "traversed": (8,),
        "epochs": (2,),
        "epoch_samples": (2, 64, *image),
        "epoch_reconstructions": (2, 32, *image),
    }
    files = save_vae(tmp_path)
    timing, again = files.draw(sample, machine=place(torch.bfloat16)), read_arrays(files.drawn / "images.npz")
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)
    assert [row["sampler"] for row in timing] == ["decoder", "decoder, fitted prior"]
    assert all(row["seconds_per_image"] > 0 for row in timing) and timing[1]["fit_seconds"] > 0


def test_equal_weights_give_the_first_samples_on_the_sheet_of_every_epoch(arrays):
    assert arrays["epochs"].tolist() == list(EPOCHS)
    assert all(np.array_equal(sheet, arrays["samples"][:64]) for sheet in arrays["epoch_samples"])


def test_means_and_images_equal_the_output_of_the_network(arrays, folder):
    network, _ = load_model(folder / "model", VAE, CPU)
    images = torch.from_numpy(np.array(dataset().test.images)).float() / 127.5 - 1
    with torch.no_grad():
        mu = network.encode(images)[0]
        decoded = network.decode(mu[:32])
        first = network.decode(prior_draws(70, 12, seed=0))
    np.testing.assert_allclose(arrays["posterior_means"], mu.numpy(), rtol=1e-4, atol=1e-5)
    for result, expected in ((arrays["epoch_reconstructions"][0], decoded), (arrays["samples"], first)):
        levels = ((expected + 1) * 127.5).round().clamp(0, 255).numpy()
        assert np.abs(result.astype(float) - levels).max() <= 1


def test_fitted_samples_are_decoded_draws_of_the_saved_mixture(arrays, folder):
    z = load_mixture(folder / "drawn/prior.safetensors").draw(70, seed=0)
    network, _ = load_model(folder / "model", VAE, CPU)
    assert np.array_equal(arrays["fitted_samples"], Codec(network, CPU, 16).decode(z))


def test_the_first_draws_do_not_depend_on_the_number_of_draws():
    assert torch.equal(prior_draws(70, 12, seed=3)[:64], prior_draws(64, 12, seed=3))


def test_paths_are_straight_between_images_of_different_class():
    mu, labels = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32), np.array([0, 1, 2, 3, 4] * 2)
    labels[[5, 7]] = 9
    paths = interpolation_paths(mu, labels, pairs=2, steps=3)
    # Only the images 0 and 2 of the first half have a partner of another class.
    np.testing.assert_allclose(paths[:, 0], mu[[0, 2]])
    np.testing.assert_allclose(paths[:, -1], mu[[5, 7]])
    np.testing.assert_allclose(paths[:, 1], (mu[[0, 2]] + mu[[5, 7]]) / 2, rtol=1e-6)


def test_neighbours_are_paired_if_the_halves_give_too_few_pairs():
    alternating = np.arange(8) % 2
    pairs = class_pairs(alternating, 5)
    assert len(pairs) == 5 and (alternating[pairs[:, 0]] != alternating[pairs[:, 1]]).all()
    assert len({tuple(pair) for pair in class_pairs(alternating, 100).tolist()}) == 16  # all possible pairs
    assert class_pairs(np.array([0, 1]), 10).tolist() == [[0, 1]]
    assert class_pairs(np.zeros(9, np.int64), 5).tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert len(class_pairs(np.zeros(1, np.int64), 5)) == 0


def test_each_traversal_changes_one_of_the_latents_that_vary_most():
    mu = np.random.default_rng(0).normal(size=(50, 10)).astype(np.float32) * np.arange(10, dtype=np.float32)
    paths, traversed = traversal_paths(mu, steps=5)
    assert traversed.tolist() == [9, 8, 7, 6, 5, 4, 3, 2]
    for path, latent in zip(paths, traversed, strict=True):
        np.testing.assert_allclose(path[:, latent], [-3, -1.5, 0, 1.5, 3])
        others = np.delete(np.arange(10), latent)
        assert np.array_equal(path[:, others], np.repeat(mu[:1, others], 5, axis=0))


def test_a_codec_does_not_depend_on_the_batch_size(folder):
    network, _ = load_model(folder / "model", VAE, CPU)
    images = dataset().test.images[:11]
    whole, parts = (Codec(network, CPU, size) for size in (11, 4))
    np.testing.assert_allclose(parts.encode(images), whole.encode(images), rtol=1e-4, atol=1e-5)
    z = whole.encode(images)
    assert np.abs(parts.decode(z).astype(float) - whole.decode(z)).max() <= 1


def test_missing_snapshots_are_refused_in_one_line(tmp_path):
    files = save_vae(tmp_path)
    with pytest.raises(InputError, match="no snapshots found"):
        replace(files, snapshots=tmp_path / "nowhere").draw(sample)
