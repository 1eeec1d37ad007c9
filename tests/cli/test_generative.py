"""Images of the trained generative models equal those of the pipeline, for any count."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_generative import CPU, dataset
from tiny_project import trained_project
from tqdm import tqdm

from triptych.cli import images
from triptych.cli.generative import (
    denoise,
    given_images,
    interpolate,
    reconstruct,
    sample_ddpm,
    sample_vae,
)
from triptych.core.errors import InputError
from triptych.data.storage import load
from triptych.nn.weights import load_model
from triptych.vae.model import VAE
from triptych.vae.sample import Codec

pytestmark = pytest.mark.usefixtures("one_thread", "inside")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def drawn(root) -> dict[str, np.ndarray]:
    """Return the arrays that the pipeline draws in the project."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    arrays = trained_project(root)
    torch.set_num_threads(threads)
    return arrays


@pytest.fixture
def inside(root, drawn, monkeypatch):
    monkeypatch.chdir(root)


def picture(path: Path, image: np.ndarray) -> Path:
    """Write an image (3, H, W) to a file."""
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(path)
    return path


def test_samples_are_the_pipeline_s_to_the_byte(drawn):
    results = {
        "samples": sample_vae(64),
        "fitted_samples": sample_vae(64, prior="fitted"),
        "ddpm_samples": sample_ddpm(64),
        "ddpm_guided": sample_ddpm(64, guided=True),
        "ddpm_compared": sample_ddpm(16, guidance_weight=1.5),
        "ddpm_cost": sample_ddpm(16, sampler="heun", steps=2),
    }
    expected = drawn | {"ddpm_compared": drawn["ddpm_compared"][0], "ddpm_cost": drawn["ddpm_cost"][1]}
    for name, result in results.items():
        assert np.array_equal(result.groups[""], expected[name][: result.about["images"]]), name
    assert not np.array_equal(drawn["ddpm_guided"], drawn["ddpm_samples"])
    about = results["ddpm_guided"].about
    settings = {"sampler": "dpm_solver", "steps": 3, "guidance_weight": 2.0, "guidance_epoch": 1, "seed": 0}
    assert {key: about[key] for key in settings} == settings


@pytest.mark.parametrize("study", [sample_vae, sample_ddpm])
def test_few_samples_are_the_first_of_more_and_another_seed_gives_others(study):
    one, few, many = (study(count).groups[""] for count in (1, 3, 21))
    assert np.array_equal(few, many[:3]) and np.array_equal(one, many[:1])
    assert not np.array_equal(study(3, seed=1).groups[""], few)


def test_reconstructions_of_test_images_are_the_codec_s():
    result = reconstruct(given_images("vae", [], 5))
    network, _ = load_model(Path("models/vae"), VAE, CPU)
    codec, originals = Codec(network, CPU, 16), dataset().test.images[:5]
    assert np.array_equal(result.groups["original"], originals)
    restored = result.groups["reconstruction"]
    assert np.array_equal(restored, codec.decode(codec.encode(originals)))
    errors = np.square(restored.astype(float) - originals).reshape(5, -1).mean(axis=1)
    np.testing.assert_allclose([image["psnr"] for image in result.about["images"]], 10 * np.log10(255**2 / errors))


def test_an_image_of_a_user_s_is_taken_as_the_stored_one(tmp_path):
    stored = np.array(load("data/generative").test.images[3])
    own = picture(tmp_path / "own.png", stored)
    of_file, of_test = (reconstruct(given_images("vae", *given)).groups for given in (([own],), ([], 4)))
    assert np.array_equal(of_file["original"][0], stored)
    difference = of_file["reconstruction"][0].astype(int) - of_test["reconstruction"][3]
    assert np.abs(difference).max() <= 1  # a batch of one may round otherwise


def test_interpolation_goes_from_the_reconstruction_of_one_image_to_that_of_the_other(tmp_path):
    own = [picture(tmp_path / f"{row}.png", dataset().test.images[row]) for row in (0, 9)]
    given = given_images("vae", own)
    ends = reconstruct(given).groups["reconstruction"]
    result = interpolate(given, 4)
    path, about = result.groups[""], result.about
    assert np.abs(path[[0, -1]].astype(int) - ends).max() <= 1 and np.abs(ends[0].astype(int) - ends[1]).max() > 1
    assert len(path) == about["steps"] == 4 and about["between"] == [str(file) for file in own]
    assert about["seed"] is None and about["prior"] is None


def test_interpolation_between_random_points_goes_from_the_first_sample_to_the_second(drawn):
    result = interpolate(None, 3, prior="fitted")
    assert np.abs(result.groups[""][[0, -1]].astype(int) - drawn["fitted_samples"][:2]).max() <= 1
    assert [result.about[key] for key in ("between", "prior", "seed")] == [None, "fitted", 0]


def test_denoising_from_a_small_time_returns_nearly_the_image():
    """A model that predicts nearly no noise hardly changes an image with little noise."""
    config = Path("models/ddpm/config.json")
    before = config.read_text()
    tree = json.loads(before)
    tree["process"]["parameterisation"] = "epsilon"
    config.write_text(json.dumps(tree))
    try:
        result = denoise(given_images("ddpm", [], 2), t=1)
    finally:
        config.write_text(before)
    assert np.array_equal(result.groups["original"], dataset().test.images[:2])
    assert not np.array_equal(result.groups["noised"], result.groups["original"])
    assert all(image["psnr_restored"] > 35 and image["psnr_noised"] > 35 for image in result.about["images"])
    assert [result.about[key] for key in ("t", "steps", "sampler")] == [1, 1, "ancestral"]


def test_denoising_test_images_gives_the_pipeline_s(drawn):
    result = denoise(given_images("ddpm", [], 16), t=120)
    assert np.array_equal(result.groups["noised"], drawn["ddpm_noised"][1, :16])
    assert np.array_equal(result.groups["restored"], drawn["ddpm_restored"][1, :16])
    # The model is not trained, and its numbers show it.
    assert all(image["psnr_noised"] > image["psnr_restored"] for image in result.about["images"])


def test_a_sampler_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match="expected one of ancestral, ddim"):
        sample_ddpm(1, sampler="dim")


def test_bars_count_the_work(monkeypatch):
    bars = []

    def kept(*arguments: object, **settings: object) -> tqdm:
        bars.append(tqdm(*arguments, **settings | {"file": io.StringIO(), "disable": False}))
        return bars[-1]

    monkeypatch.setattr(images, "tqdm", kept)
    sample_ddpm(20)
    sample_ddpm(20, sampler="heun", steps=4, guided=True)
    denoise(given_images("ddpm", [], 20), t=120, steps=5)
    # Two batches of 16 each time; of Heun's four steps two are of second order.
    assert [(bar.n, bar.total) for bar in bars] == [(6, 6), (12, 12), (10, 10)]
