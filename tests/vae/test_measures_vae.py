"""Metrics of the VAE study for a tiny model: complete, inside their intervals, and reproducible."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_generative import CPU, Files, dataset, files, inputs, judge, save_vae

from triptych.measures.estimate import Estimate, split
from triptych.nn.weights import load_model
from triptych.vae import sample
from triptych.vae.measure import VAEMeasures
from triptych.vae.model import VAE
from triptych.vae.prior import load_mixture

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("vae")


def measures(folder: Path) -> VAEMeasures:
    saved = save_vae(folder)
    return with_arrays(saved, saved.arrays(sample))


def with_arrays(files: Files, drawn: dict[str, np.ndarray]) -> VAEMeasures:
    network, prior = load_model(files.model, VAE, CPU)[0], load_mixture(files.drawn / "prior.safetensors")
    return VAEMeasures(network=network, prior=prior, **inputs(judge(), dataset(), drawn))


def test_every_metric_is_finite_inside_its_interval_and_reproducible(folder):
    result = measures(folder).numbers()
    with_intervals = {
        "elbo_bpd", "iwae_bpd", "unit_variance_elbo_bpd", "unit_variance_iwae_bpd", "reconstruction_mse",
        "reconstruction_same_class", "frechet_distance", "recognisability", "sharpness_ratio", "precision", "recall",
        "interpolation_smoothness", "crossfade_smoothness", "interpolation_over_crossfade_smoothness",
        "interpolation_recognised", "crossfade_recognised", "interpolation_over_crossfade_recognised",
        "top_latents_share", "top_latents_over_shuffled", "top_latents_over_rotated",
    }  # fmt: skip
    without = {
        "likelihood", "calibrated_sigma", "unit_variance_iwae_nats", "frechet_floor", "real_recognisability",
        "real_precision", "real_recall", "clipped_share", "median_spread", "samples", "active_units",
        "top_latents_share_shuffled", "top_latents_share_rotated",
    }  # fmt: skip
    assert {key for key, number in result.items() if isinstance(number, Estimate)} == with_intervals
    assert set(result) == with_intervals | without | {"fitted_prior"}
    for key in with_intervals:
        assert np.isfinite([result[key].low, result[key].value, result[key].high]).all(), key
        if (
            key != "top_latents_share"
        ):  # biased upwards in resamples of few images, so the interval may be above the value
            assert result[key].low <= result[key].value <= result[key].high, key
    assert split(result) == split(measures(folder).numbers())


def test_samples_of_the_fitted_prior_are_measured_as_those_of_the_standard_normal(folder):
    one = measures(folder)
    fitted = one.numbers()["fitted_prior"]
    swapped = with_arrays(files(folder), {**one.drawn, "samples": one.drawn["fitted_samples"]}).numbers()
    assert fitted.pop("components") == 3 and set(fitted) == {
        "frechet_distance", "recognisability", "sharpness_ratio", "precision", "recall"
    }  # fmt: skip
    assert {key: number.value for key, number in fitted.items()} == {key: swapped[key].value for key in fitted}
    assert split(one.numbers())["fitted_prior"]["intervals"].keys() == fitted.keys()


def test_reconstructions_are_measured_from_the_posterior_mean(folder):
    one = measures(folder)
    images = torch.from_numpy(np.array(dataset().test.images)).float() / 127.5 - 1
    with torch.no_grad():
        error = (images - one.network.decode(one.network.encode(images)[0])).square().mean()
    assert one.numbers()["reconstruction_mse"].value == pytest.approx(float(error), rel=1e-4)


def test_final_probabilities_are_the_judge_s_and_the_table_has_a_row_per_class_and_latent(folder):
    one = measures(folder)
    np.testing.assert_allclose(
        one.final_probabilities(), judge()(one.drawn["samples"][:5]).probabilities, rtol=1e-4, atol=1e-6
    )
    assert len(one.latents()) == 10 * 12
