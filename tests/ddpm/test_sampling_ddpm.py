"""What is drawn from a diffusion model: complete, the same in every run, in the given precision, and never no image."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_generative import CPU, EPOCHS, SAMPLING, dataset, place, sampling, save_ddpm

from triptych.core.errors import InputError
from triptych.core.schema import overlaid, validate
from triptych.data.drawn import Drawn
from triptych.ddpm.sample import draw
from triptych.ddpm.trained import load_trained
from triptych.measures.sampling_params import SamplingParams
from triptych.nn.weights import save_weights

pytestmark = pytest.mark.usefixtures("one_thread")


def drawn(folder: Path, dtype: torch.dtype = torch.float32, **head: float) -> Drawn:
    files = save_ddpm(folder, **head)
    return draw(files.model, files.snapshots, dataset(), sampling(), 0, place(dtype))


@pytest.fixture(scope="module")
def arrays(tmp_path_factory) -> dict[str, np.ndarray]:
    return drawn(tmp_path_factory.mktemp("ddpm")).arrays


def test_everything_is_drawn_in_the_same_bits(arrays, tmp_path):
    shapes = {name: array.shape for name, array in arrays.items()}
    image = (3, 32, 32)
    assert shapes == {
        "originals": (16, *image),
        "samples": (70, *image),
        "guided": (70, *image),
        "guidance_weight": (),
        "guidance_epoch": (),
        **{f"guided_{epoch}_{weight}": (20, *image) for epoch in (1, 5) for weight in (1.5, 2.0)},
        "restoration_times": (3,),
        "restoration_sigmas": (3,),
        **{f"{what}_{t}": (20, *image) for what in ("noised", "restored") for t in (30, 120, 500)},
        "strip_original": (1, *image),
        **{f"strip_forward_{t}": (7, *image) for t in (30, 120)},
        **{f"strip_backward_{t}": (4, *image) for t in (30, 120)},  # both ends of three steps
        **{f"samples_{epoch}": (64, *image) for epoch in EPOCHS},
        "cost_ddim_2": (20, *image),
        "cost_heun_2": (20, *image),
    }
    again = drawn(tmp_path)
    assert all(np.array_equal(arrays[name], again.arrays[name]) for name in arrays)
    assert [(row["sampler"], row["steps"]) for row in again.timing] == [("guided", 3), ("ddim", 2), ("heun", 2)]
    assert all(row["seconds_per_image"] > 0 for row in again.timing)


def test_equal_weights_make_equal_sheets_whose_places_are_those_of_the_samples(arrays):
    assert np.array_equal(arrays["samples_1"], arrays["samples_5"])
    assert np.array_equal(arrays["samples_5"], arrays["samples"][:64])


def test_the_samples_are_the_comparison_s_where_it_has_their_sampler(arrays, tmp_path):
    files = save_ddpm(tmp_path)
    tree = overlaid(SAMPLING, {"ddpm": {"cost": {"steps": {"dpm_solver": [3, 2]}}}})
    found = draw(
        files.model, files.snapshots, dataset(), validate(SamplingParams, tree, "sampling", Path("test")), 0, place()
    )
    assert np.array_equal(found.arrays["samples"], arrays["samples"])
    assert np.array_equal(found.arrays["cost_dpm_solver_3"], arrays["samples"][:20])
    assert found.arrays["cost_dpm_solver_2"].shape == (20, 3, 32, 32)
    rows = [(row["sampler"], row["steps"]) for row in found.timing]
    assert sorted(rows) == [("ddim", 2), ("dpm_solver", 2), ("dpm_solver", 3), ("guided", 3), ("heun", 2)]


def test_several_parts_at_once_draw_what_one_after_another_do(arrays, tmp_path):
    files = save_ddpm(tmp_path)
    two = draw(files.model, files.snapshots, dataset(), sampling(), 0, replace(place(), threads=2)).arrays
    assert two.keys() == arrays.keys() and all(np.array_equal(two[name], arrays[name]) for name in arrays)


def test_guidance_starts_from_the_noise_of_the_samples_and_goes_away_from_its_guide(arrays, tmp_path):
    """A guide of the model's own weights changes nothing; one of half its answer makes samples say more."""
    assert np.abs(arrays["guided"].astype(int) - arrays["samples"]).max() <= 1
    files = save_ddpm(tmp_path)
    early = load_trained(files.model, CPU).network
    with torch.no_grad():
        early.head.weight.mul_(0.5)
    save_weights(files.snapshots / "epoch_0001.safetensors", early)
    found = draw(files.model, files.snapshots, dataset(), sampling(), 0, place()).arrays
    assert np.array_equal(found["samples"], arrays["samples"])
    assert np.array_equal(found["guided_1_2.0"], found["guided"][:20])
    assert np.abs(found["guided_5_2.0"].astype(int) - arrays["samples"][:20]).max() <= 1
    spreads = [found[name].std() for name in ("samples", "guided_1_1.5", "guided_1_2.0")]
    assert spreads == sorted(spreads) and spreads[0] < spreads[-1]


def test_a_guide_that_was_not_kept_is_refused_before_anything_is_drawn(tmp_path):
    files = save_ddpm(tmp_path, head_bias=float("nan"))  # whose samples would be refused, too
    (files.snapshots / "epoch_0001.safetensors").unlink()
    with pytest.raises(InputError, match="epoch 1"):
        draw(files.model, files.snapshots, dataset(), sampling(), 0, place())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"samples": 71}, "at most samples, 70"),
        ({"weights": [1.0, 2.0]}, "greater than 1"),
        ({"epochs": [5, 1]}, "epochs must be a rising list"),
    ],
)
def test_guidance_that_cannot_be_compared_is_refused_in_one_line(changes, words):
    tree = overlaid(SAMPLING, {"ddpm": {"guidance": {"compared": changes}}})
    with pytest.raises(InputError, match=words):
        validate(SamplingParams, tree, "sampling", Path("test"))


def test_noise_grows_with_t_and_the_strip_shows_the_class_that_params_name(arrays):
    np.testing.assert_allclose(arrays["restoration_sigmas"][:2], [0.108, 0.378], atol=5e-4)
    originals = dataset().test.images[:20].astype(float)
    errors = [np.square(arrays[f"noised_{t}"] - originals).mean() for t in (30, 120, 500)]
    assert errors == sorted(errors)
    assert np.array_equal(arrays["strip_original"][0], dataset().test.images[32])  # the first of class 4
    for t in (30, 120):
        assert np.array_equal(arrays[f"strip_forward_{t}"][0], arrays["strip_original"][0])
        assert np.array_equal(arrays[f"strip_forward_{t}"][-1], arrays[f"strip_backward_{t}"][0])


def test_images_are_drawn_in_the_given_precision(arrays, tmp_path):
    half = drawn(tmp_path, torch.bfloat16).arrays
    for name in ("samples", "guided", "samples_1", "restored_120", "strip_backward_120", "cost_ddim_2"):
        assert not np.array_equal(half[name], arrays[name]), name
        assert np.abs(half[name].astype(float) - arrays[name]).mean() < 2, name
    assert np.array_equal(half["noised_120"], arrays["noised_120"])


@pytest.mark.parametrize(("bias", "words"), [(float("nan"), "not finite"), (1e4, "clipped"), (0.0, "one colour")])
def test_samples_that_are_no_images_are_refused(bias, words, tmp_path):
    with pytest.raises(InputError, match=words):
        drawn(tmp_path, head_std=0.0, head_bias=bias)


def test_a_model_that_does_not_say_what_it_learned_is_refused_in_one_line(tmp_path):
    files = save_ddpm(tmp_path)
    path = files.model / "config.json"
    config = json.loads(path.read_text())
    for broken in ({"network": config["network"]}, config | {"process": config["process"] | {"times": "never"}}):
        path.write_text(json.dumps(broken))
        with pytest.raises(InputError, match="process"):
            draw(files.model, files.snapshots, dataset(), sampling(), 0, place())
