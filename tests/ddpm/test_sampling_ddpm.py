"""Samples of a diffusion model: complete, reproducible, in the given precision, and refused if degenerate."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_generative import EPOCHS, SAMPLING, dataset, place, save_ddpm, weaken

from triptych.core.errors import InputError
from triptych.core.files import read_arrays
from triptych.core.schema import overlaid, validate
from triptych.ddpm import sample
from triptych.ddpm.params import SamplingParams

pytestmark = pytest.mark.usefixtures("one_thread")


def changed(changes: dict) -> SamplingParams:
    return validate(SamplingParams, overlaid(SAMPLING, changes), "sampling", Path("test"))


@pytest.fixture(scope="module")
def arrays(tmp_path_factory) -> dict[str, np.ndarray]:
    return save_ddpm(tmp_path_factory.mktemp("ddpm")).arrays(sample)


def test_everything_is_drawn_in_the_same_bits(arrays, tmp_path):
    shapes = {name: array.shape for name, array in arrays.items()}
    image = (3, 32, 32)
    assert shapes == {
        "originals": (16, *image),
        "samples": (70, *image),
        "guided": (70, *image),
        "guidance_weight": (),
        "guidance_epoch": (),
        "compared": (4, 20, *image),
        "compared_epoch": (4,),
        "compared_weight": (4,),
        "restoration_times": (3,),
        "restoration_sigmas": (3,),
        "noised": (3, 20, *image),
        "restored": (3, 20, *image),
        "strip_original": (1, *image),
        "strip_times": (2,),
        "strip_forward": (2, 7, *image),
        "strip_backward": (2, 4, *image),  # both ends of three steps
        "epochs": (2,),
        "epoch_samples": (2, 64, *image),
        "cost": (2, 20, *image),
        "cost_sampler": (2,),
        "cost_steps": (2,),
    }
    files = save_ddpm(tmp_path)
    timing, again = files.draw(sample), read_arrays(files.drawn / "images.npz")
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)
    assert [(row["sampler"], row["steps"]) for row in timing] == [("guided", 3), ("ddim", 2), ("heun", 2)]
    assert all(row["seconds_per_image"] > 0 for row in timing)


def test_each_comparison_lists_its_points_in_order(arrays):
    assert arrays["compared_epoch"].tolist() == [1, 1, 5, 5]
    assert arrays["compared_weight"].tolist() == [1.5, 2.0, 1.5, 2.0]
    assert arrays["cost_sampler"].tolist() == ["ddim", "heun"] and arrays["cost_steps"].tolist() == [2, 2]
    assert arrays["restoration_times"].tolist() == [30, 120, 500] and arrays["strip_times"].tolist() == [30, 120]


def test_a_comparison_of_no_sampler_is_an_empty_array(tmp_path):
    changes = {"ddpm": {"cost": {"steps": {"ddim": [], "heun": []}}}}
    result = save_ddpm(tmp_path).arrays(sample, params=changed(changes))
    assert result["cost"].shape == (0, 20, 3, 32, 32) and len(result["cost_sampler"]) == len(result["cost_steps"]) == 0


def test_equal_weights_give_the_first_samples_on_the_sheet_of_every_epoch(arrays):
    assert arrays["epochs"].tolist() == list(EPOCHS)
    assert all(np.array_equal(sheet, arrays["samples"][:64]) for sheet in arrays["epoch_samples"])


def test_a_comparison_reuses_the_samples_of_the_same_sampler(arrays, tmp_path):
    files = save_ddpm(tmp_path)
    timing = files.draw(sample, params=changed({"ddpm": {"cost": {"steps": {"dpm_solver": [3, 2]}}}}))
    result = read_arrays(files.drawn / "images.npz")
    assert np.array_equal(result["samples"], arrays["samples"])
    points = list(zip(result["cost_sampler"].tolist(), result["cost_steps"].tolist(), strict=True))
    assert points == [("ddim", 2), ("dpm_solver", 3), ("dpm_solver", 2), ("heun", 2)]
    assert np.array_equal(result["cost"][1], arrays["samples"][:20])
    assert not np.array_equal(result["cost"][2], arrays["samples"][:20])
    assert [(row["sampler"], row["steps"]) for row in timing] == [("guided", 3), *points]


def test_concurrent_tasks_draw_the_same_images(arrays, tmp_path):
    two = save_ddpm(tmp_path).arrays(sample, machine=replace(place(), threads=2))
    assert two.keys() == arrays.keys() and all(np.array_equal(two[name], arrays[name]) for name in arrays)


def test_guidance_starts_from_the_noise_of_the_samples_and_moves_away_from_its_guide(arrays, tmp_path):
    """A guide with the model's own weights changes nothing; one with half its output increases the spread."""
    assert np.abs(arrays["guided"].astype(int) - arrays["samples"]).max() <= 1
    result = weaken(save_ddpm(tmp_path)).arrays(sample)
    assert np.array_equal(result["samples"], arrays["samples"])
    of_first, of_last = result["compared"][:2], result["compared"][2:]
    assert np.array_equal(of_first[1], result["guided"][:20])
    assert np.abs(of_last[1].astype(int) - arrays["samples"][:20]).max() <= 1
    spreads = [images.std() for images in (result["samples"], *of_first)]
    assert spreads == sorted(spreads) and spreads[0] < spreads[-1]


def test_a_guide_without_snapshot_is_refused_before_anything_is_drawn(tmp_path):
    files = save_ddpm(tmp_path, head_bias=float("nan"))  # its samples would also be refused
    (files.snapshots / "epoch_0001.safetensors").unlink()
    with pytest.raises(InputError, match="epoch 1"):
        files.draw(sample)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"samples": 71}, r"at most samples \(70\), got 71"),
        ({"weights": [1.0, 2.0]}, "greater than 1"),
        ({"epochs": [5, 1]}, r"epochs\' is \[5, 1\]: must be strictly increasing"),
    ],
)
def test_guidance_that_cannot_be_compared_is_refused_in_one_line(changes, words):
    with pytest.raises(InputError, match=words):
        changed({"ddpm": {"guidance": {"compared": changes}}})


def test_noise_grows_with_t_and_the_strip_shows_the_class_of_params(arrays):
    np.testing.assert_allclose(arrays["restoration_sigmas"][:2], [0.108, 0.378], atol=5e-4)
    originals = dataset().test.images[:20].astype(float)
    errors = [np.square(noised - originals).mean() for noised in arrays["noised"]]
    assert errors == sorted(errors)
    assert np.array_equal(arrays["strip_original"][0], dataset().test.images[32])  # the first of class 4
    for forward, backward in zip(arrays["strip_forward"], arrays["strip_backward"], strict=True):
        assert np.array_equal(forward[0], arrays["strip_original"][0])
        assert np.array_equal(forward[-1], backward[0])


def test_images_are_drawn_in_the_given_precision(arrays, tmp_path):
    half = save_ddpm(tmp_path).arrays(sample, machine=place(torch.bfloat16))
    for name in ("samples", "guided", "epoch_samples", "restored", "strip_backward", "cost"):
        assert not np.array_equal(half[name], arrays[name]), name
        assert np.abs(half[name].astype(float) - arrays[name]).mean() < 2, name
    assert np.array_equal(half["noised"], arrays["noised"])


@pytest.mark.parametrize(("bias", "words"), [(float("nan"), "not finite"), (1e4, "clipped"), (0.0, "nearly uniform")])
def test_degenerate_samples_are_refused(bias, words, tmp_path):
    with pytest.raises(InputError, match=words):
        save_ddpm(tmp_path, head_std=0.0, head_bias=bias).draw(sample)


def test_a_model_without_a_valid_process_is_refused_in_one_line(tmp_path):
    files = save_ddpm(tmp_path)
    path = files.model / "config.json"
    config = json.loads(path.read_text())
    for broken in ({"network": config["network"]}, config | {"process": config["process"] | {"times": "never"}}):
        path.write_text(json.dumps(broken))
        with pytest.raises(InputError, match="process"):
            files.draw(sample)
