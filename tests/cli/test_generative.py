"""The generative models put to use: the pipeline's own images, and a user's through the models and back."""

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

from triptych.cli import progress
from triptych.cli.denoise import denoise
from triptych.cli.interpolate import interpolate
from triptych.cli.reconstruct import reconstruct
from triptych.cli.sample import from_ddpm, from_vae
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
    """What the pipeline draws in the project."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    arrays = trained_project(root)
    torch.set_num_threads(threads)
    return arrays


@pytest.fixture
def inside(root, drawn, monkeypatch):
    monkeypatch.chdir(root)


def images_of(done: dict) -> np.ndarray:
    """(N, 3, H, W) uint8 of the files written."""
    return np.stack([np.asarray(Image.open(path)).transpose(2, 0, 1) for path in done["written"]])


def picture(path: Path, image: np.ndarray) -> Path:
    """An image (3, H, W) as a file of a user's."""
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(path)
    return path


def by_ddpm(out: Path, count: int, **changes: object) -> dict:
    plain = dict.fromkeys(("seed", "sampler", "steps", "guidance_weight", "guidance_epoch"))
    return from_ddpm(**plain | {"count": count, "out": f"{out}/", "guided": False, "force": False} | changes)


def by_vae(out: Path, count: int, prior: str = "normal", seed: int | None = None) -> dict:
    return from_vae(count, f"{out}/", seed, prior, force=False)


def test_samples_are_the_pipeline_s_to_the_byte(drawn, tmp_path):
    found = {
        "samples": by_vae(tmp_path / "normal", 64),
        "fitted_samples": by_vae(tmp_path / "fitted", 64, "fitted"),
        "ddpm_samples": by_ddpm(tmp_path / "plain", 64),
        "ddpm_guided": by_ddpm(tmp_path / "guided", 64, guided=True),
        "ddpm_compared": by_ddpm(tmp_path / "less", 16, guidance_weight=1.5),
        "ddpm_cost": by_ddpm(tmp_path / "heun", 16, sampler="heun", steps=2),
    }
    expected = drawn | {"ddpm_compared": drawn["ddpm_compared"][0], "ddpm_cost": drawn["ddpm_cost"][1]}
    for name, done in found.items():
        assert np.array_equal(images_of(done), expected[name][: done["images"]]), name
    assert not np.array_equal(drawn["ddpm_guided"], drawn["ddpm_samples"])
    told = {key: found["ddpm_guided"][key] for key in ("sampler", "steps", "guidance_weight", "guidance_epoch", "seed")}
    expected = {"sampler": "dpm_solver", "steps": 3, "guidance_weight": 2.0, "guidance_epoch": 1, "seed": 0}
    assert told == expected


@pytest.mark.parametrize("study", [by_vae, by_ddpm])
def test_few_samples_are_the_first_of_more_and_another_seed_gives_others(study, tmp_path):
    one, few, many = (images_of(study(tmp_path / str(count), count)) for count in (1, 3, 21))
    assert np.array_equal(few, many[:3]) and np.array_equal(one, many[:1])
    assert not np.array_equal(images_of(study(tmp_path / "other", 3, seed=1)), few)


def test_reconstructions_of_test_images_are_the_codec_s(tmp_path):
    done = reconstruct([], 5, f"{tmp_path / 'out'}/", force=False)
    network, _ = load_model(Path("models/vae"), VAE, CPU)
    codec, originals = Codec(network, CPU, 16), dataset().test.images[:5]
    found = images_of(done)
    assert np.array_equal(found[::2], originals)
    assert np.array_equal(found[1::2], codec.decode(codec.encode(originals)))
    assert [Path(path).name for path in done["written"][:2]] == ["0000_original.png", "0000_reconstruction.png"]
    errors = np.square(found[1::2].astype(float) - originals).reshape(5, -1).mean(axis=1)
    np.testing.assert_allclose([image["psnr"] for image in done["images"]], 10 * np.log10(255**2 / errors))


def test_an_image_of_a_user_s_is_taken_as_the_stored_one(tmp_path):
    stored = np.array(load("data/generative").test.images[3])
    own = picture(tmp_path / "own.png", stored)
    of_file, of_test = (
        images_of(reconstruct(files, test, f"{tmp_path / name}/", force=False))
        for name, files, test in (("file", [own], None), ("test", [], 4))
    )
    assert np.array_equal(of_file[0], stored)
    assert np.abs(of_file[1].astype(int) - of_test[7]).max() <= 1  # a batch of one may round otherwise


def test_interpolation_goes_from_the_reconstruction_of_one_image_to_that_of_the_other(tmp_path):
    own = [picture(tmp_path / f"{row}.png", dataset().test.images[row]) for row in (0, 9)]
    ends = images_of(reconstruct(own, None, f"{tmp_path / 'ends'}/", force=False))[1::2]
    done = interpolate(own, 4, f"{tmp_path / 'path'}/", None, None, force=False)
    path = images_of(done)
    assert np.abs(path[[0, -1]].astype(int) - ends).max() <= 1 and np.abs(ends[0].astype(int) - ends[1]).max() > 1
    assert len(path) == done["steps"] == 4 and done["between"] == [str(file) for file in own]
    assert done["seed"] is None and done["prior"] is None


def test_interpolation_between_random_points_goes_from_the_first_sample_to_the_second(drawn, tmp_path):
    done = interpolate([], 3, f"{tmp_path / 'path'}/", None, "fitted", force=False)
    assert np.abs(images_of(done)[[0, -1]].astype(int) - drawn["fitted_samples"][:2]).max() <= 1
    assert (done["between"], done["prior"], done["seed"]) == (None, "fitted", 0)


def test_denoising_from_a_small_time_returns_nearly_the_image(tmp_path):
    """By a model that predicts the noise, and hardly any."""
    config = Path("models/ddpm/config.json")
    before = config.read_text()
    tree = json.loads(before)
    tree["process"]["parameterisation"] = "epsilon"
    config.write_text(json.dumps(tree))
    try:
        done = denoise([], 2, 1, None, f"{tmp_path / 'out'}/", None, force=False)
    finally:
        config.write_text(before)
    original, noised, restored = (images_of(done)[part::3] for part in range(3))
    assert np.array_equal(original, dataset().test.images[:2])
    assert not np.array_equal(noised, original)
    assert all(image["psnr_restored"] > 35 and image["psnr_noised"] > 35 for image in done["images"])
    assert (done["t"], done["steps"], done["sampler"]) == (1, 1, "ancestral")


def test_denoising_test_images_gives_the_pipeline_s(drawn, tmp_path):
    done = denoise([], 16, 120, None, f"{tmp_path / 'out'}/", None, force=False)
    _, noised, restored = (images_of(done)[part::3] for part in range(3))
    assert np.array_equal(noised, drawn["ddpm_noised"][1, :16])
    assert np.array_equal(restored, drawn["ddpm_restored"][1, :16])
    worst = min(image["psnr_noised"] - image["psnr_restored"] for image in done["images"])
    assert worst > 0  # the model is not trained, and its numbers say so


def test_bars_count_what_there_is_to_do(tmp_path, monkeypatch):
    bars = []

    def kept(*arguments: object, **settings: object) -> tqdm:
        bars.append(tqdm(*arguments, **settings | {"file": io.StringIO(), "disable": False}))
        return bars[-1]

    monkeypatch.setattr(progress, "tqdm", kept)
    by_vae(tmp_path / "a", 20)
    by_ddpm(tmp_path / "b", 20)
    by_ddpm(tmp_path / "c", 20, sampler="heun", steps=4, guided=True)
    reconstruct([], 20, f"{tmp_path / 'd'}/", force=False)
    denoise([], 20, 120, 5, f"{tmp_path / 'e'}/", None, force=False)
    # Two batches of 16 each time; of Heun's four steps two are of second order.
    assert [(bar.n, bar.total) for bar in bars] == [(32, 32), (6, 6), (12, 12), (20, 20), (10, 10)]
