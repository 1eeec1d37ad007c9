"""Use the trained VAE and DDPM: sample, reconstruct, interpolate and denoise.

The functions read params.yaml and models from the working directory, return arrays, and write no files.
Models are loaded on the CPU first, so that a damaged model is reported before a GPU is set up. Samples are
computed in full batches of the same size, because rounding can depend on the batch size.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from triptych.cli.images import bar, read_image
from triptych.core.errors import InputError
from triptych.core.schema import Runtime, read, validate
from triptych.data.storage import load
from triptych.ddpm.objective import Denoising, DenoisingObjective, load_trained
from triptych.ddpm.params import SamplerName
from triptych.ddpm.sample import Autoguidance, alpha_bars, load_guide, restore
from triptych.ddpm.samplers import checked, evaluations, reverse
from triptych.machine.device import machine
from triptych.measures.images import ImageNoise
from triptych.measures.similarity import psnr
from triptych.nn.weights import load_model, snapshot_files
from triptych.params import SamplingParams
from triptych.vae.model import VAE
from triptych.vae.prior import load_mixture
from triptych.vae.sample import Codec, interpolation_paths, prior_draws

MODELS = Path("models")
SNAPSHOTS = Path("snapshots/ddpm")
PRIOR = Path("samples/vae/prior.safetensors")
DATA = Path("data/generative")
CPU = torch.device("cpu")
# More images per batch are hardly faster on a CPU, and few images would take longer. Batch sizes from two up gave equal
# bits on the CPUs tried.
CPU_BATCH = 32
TEST_IMAGES = 8

Prior = Literal["normal", "fitted"]


class Images(NamedTuple):
    """N images with names. `images` is a uint8 array of shape (N, C, H, W)."""

    names: list[str]
    images: np.ndarray


class Result(NamedTuple):
    """Images that a command returns. `groups` maps names to uint8 arrays (N, C, H, W). `about` is printed as JSON."""

    groups: Mapping[str, np.ndarray]
    about: dict[str, Any]

    def mean(self, key: str) -> float:
        """Return the mean over all images of a score in `about`. `key` is the name of the score, such as "psnr"."""
        return sum(image[key] for image in self.about["images"]) / len(self.about["images"])


def read_params(seed: int | None = None) -> SimpleNamespace:
    """Read `seed`, `runtime` and `sampling` from params.yaml. If `seed` is given, it replaces the seed in the file."""
    params = read(seed=int, runtime=Runtime, sampling=SamplingParams)
    params.seed = params.seed if seed is None else seed
    return params


# --- models and images ---


def model_folder(name: str) -> Path:
    """Return the folder models/<name>. Raises InputError if it does not contain a trained model."""
    folder = MODELS / name
    if not all((folder / file).is_file() for file in ("config.json", "model.safetensors")):
        raise InputError(
            f"{folder}: no trained model; train it with `dvc repro {name}`, or fetch it with `dvc pull {name}`"
        )
    return folder


def image_shape(name: str) -> tuple[int, int, int]:
    """Return the image shape (C, H, W) of the trained model `name`, read from its config.json."""
    path = model_folder(name) / "config.json"
    try:
        channels, height, width = json.loads(path.read_text(encoding="utf-8"))["network"]["image_shape"]
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"{path}: network.image_shape is missing or invalid; retrain the model with `dvc repro {name}`"
        ) from None
    return channels, height, width


@contextmanager
def trained_vae(params: SimpleNamespace) -> Iterator[Codec]:
    """Load the trained VAE, and yield a Codec that encodes and decodes images on the device set in `params.runtime`."""
    network, _ = load_model(model_folder("vae"), VAE, CPU)
    with machine(params.runtime, announce=False, one_thread=False) as host:
        yield Codec(network.to(host.device), host.device, params.sampling.batch_size)


def load_ddpm(epoch: int | None = None) -> DenoisingObjective:
    """Load the DDPM on the CPU in eval mode. `epoch` selects a snapshot, and None selects the final weights."""
    if epoch is None:
        return load_trained(model_folder("ddpm"), CPU)
    snapshots = snapshot_files(SNAPSHOTS)
    if epoch not in snapshots:
        epochs = ", ".join(map(str, snapshots))
        raise InputError(f"--guidance-epoch {epoch}: no snapshot of that epoch; available: {epochs}")
    return load_guide(model_folder("ddpm"), epoch, snapshots, CPU)


def given_images(model: str, files: Sequence[Path], test: int | None = None) -> Images:
    """Read image files for the model `model`, or the first `test` (default: 8) test images if `files` is empty."""
    shape = image_shape(model)
    if files and test is not None:
        raise InputError("--test cannot be combined with image files")
    if files:
        return Images([file.as_posix() for file in files], np.stack([read_image(file, shape) for file in files]))
    images, count = load(DATA).test.images, test or TEST_IMAGES
    if images.shape[1:] != shape:
        data, expected = ("×".join(map(str, sides)) for sides in (images.shape[1:], shape))
        raise InputError(f"{DATA}: images are {data}, but the model expects {expected}; retrain with `dvc repro`")
    if count > len(images):
        raise InputError(f"--test {count}: must be at most {len(images)}, the number of test images in {DATA}")
    return Images([f"test image {row}" for row in range(count)], np.array(images[:count]))


# --- samples ---


def draw_prior(prior: Prior, count: int, latents: int, seed: int) -> np.ndarray:
    """Draw float32 latents (count, latents) from N(0, I), or from the fitted mixture if `prior` is "fitted"."""
    if prior == "normal":
        return prior_draws(count, latents, seed).numpy()
    if not PRIOR.is_file():
        raise InputError(f"{PRIOR}: no fitted prior; fit it with `dvc repro sample@vae`, or choose --prior normal")
    mixture = load_mixture(PRIOR)
    if mixture.means.shape[1] != latents:
        raise InputError(
            f"{PRIOR}: fitted to {mixture.means.shape[1]} latents, but models/vae has {latents}; "
            "refit the prior with `dvc repro sample@vae`"
        )
    return mixture.draw(count, seed)


def sample_vae(count: int, seed: int | None = None, prior: Prior = "normal") -> Result:
    """Draw `count` images from the VAE. With the same params and seed, stage `sample@vae` draws the same images."""
    params = read_params(seed)
    with trained_vae(params) as codec:
        z = draw_prior(prior, _whole(count, codec.batch_size), codec.network.mu.out_features, params.seed)
        start = time.perf_counter()
        images = codec.decode(z)
        seconds = time.perf_counter() - start
    about = {"model": "models/vae", "images": count, "prior": prior, "seed": params.seed, "seconds": seconds}
    return Result({"": images[:count]}, about)


def sample_ddpm(
    count: int,
    seed: int | None = None,
    sampler: str | None = None,
    steps: int | None = None,
    guided: bool = False,
    guidance_weight: float | None = None,
    guidance_epoch: int | None = None,
) -> Result:
    """Draw `count` images from the DDPM. With the same params and seed, the stage `sample@ddpm` draws the same images.

    None stands for the value in params.yaml. Guidance is off unless `guided` is True or a guidance argument is given.
    """
    params, shape = read_params(seed), image_shape("ddpm")
    usual, guidance = params.sampling.ddpm.sampler, params.sampling.ddpm.guidance
    name, steps = validate(SamplerName, sampler or usual.name, "--sampler", Path("sample ddpm")), steps or usual.steps
    method, weight, epoch = load_ddpm(), 1.0, None
    if guided or guidance_weight is not None or guidance_epoch is not None:
        weight, epoch = guidance_weight or guidance.weight, guidance_epoch or guidance.epoch
    guide = None if epoch is None else load_ddpm(epoch)
    samples = []
    with machine(params.runtime, announce=False, one_thread=False) as host:
        start = time.perf_counter()
        denoiser: Denoising = method.to(host.device)
        if guide is not None:
            denoiser = Autoguidance(method, guide.to(host.device), weight)
        size = params.sampling.batch_size
        size = min(size, CPU_BATCH) if host.device.type == "cpu" else size
        batches = range(0, _whole(count, size), size)
        total = len(batches) * evaluations(name, denoiser.levels(steps))
        with bar("sample ddpm", total) as progress, host.autocast():
            watched = _watched(denoiser, progress)
            for first in batches:
                noise = ImageNoise(params.seed, "samples", range(first, first + size), shape, host.device).normal
                samples.append(reverse(watched, noise(), None, name, steps, noise).cpu())
        images = checked(torch.cat(samples)).numpy()[:count]
        seconds = time.perf_counter() - start
    about = {"model": "models/ddpm", "images": count, "sampler": name, "steps": steps, "guidance_weight": weight}
    return Result({"": images}, about | {"guidance_epoch": epoch, "seed": params.seed, "seconds": seconds})


def _whole(count: int, size: int) -> int:
    return -(-count // size) * size


# --- images through the models ---


def reconstruct(given: Images) -> Result:
    """Reconstruct images x with the VAE by decoding the mean of q(z|x). The result includes the PSNR in dB."""
    with trained_vae(read_params()) as codec:
        start = time.perf_counter()
        images = codec.decode(codec.encode(given.images))
        seconds = time.perf_counter() - start
    decibels = psnr(given.images, images)
    scores = [{"image": name, "psnr": float(value)} for name, value in zip(given.names, decibels, strict=True)]
    groups = {"original": given.images, "reconstruction": images}
    return Result(groups, {"model": "models/vae", "images": scores, "seconds": seconds})


def interpolate(ends: Images | None, steps: int, seed: int | None = None, prior: Prior | None = None) -> Result:
    """Decode `steps` points on a straight line in the VAE's latent space, including both endpoints.

    The endpoints are the latents of two images `ends`. If `ends` is None, they are drawn from `prior` with `seed`.
    """
    if ends and len(ends.names) != 2:
        raise InputError(f"interpolate expects two images, or none for random endpoints; got {len(ends.names)}")
    if ends and (seed is not None or prior is not None):
        raise InputError("--seed and --prior choose random endpoints, so they cannot be combined with image files")
    params, prior = read_params(seed), None if ends else prior or "normal"
    with trained_vae(params) as codec:
        start = time.perf_counter()
        z = codec.encode(ends.images) if ends else draw_prior(prior, 2, codec.network.mu.out_features, params.seed)
        images = codec.decode(interpolation_paths(z, labels=np.arange(2), pairs=1, steps=steps)[0])
        seconds = time.perf_counter() - start
    about: dict[str, Any] = {"model": "models/vae", "between": ends.names if ends else None, "prior": prior}
    about |= {"seed": None if ends else params.seed, "steps": steps, "seconds": seconds}
    return Result({"": images}, about)


def denoise(given: Images, t: int, steps: int | None = None, seed: int | None = None) -> Result:
    """Add noise to images up to diffusion step `t`, then remove the noise in `steps` steps of the ancestral sampler."""
    params = read_params(seed)
    restoration, size = params.sampling.ddpm.restoration, params.sampling.batch_size
    if not 1 <= t <= restoration.schedule.steps:
        raise InputError(f"--t {t}: must be from 1 to {restoration.schedule.steps}")
    level, steps = float(alpha_bars(restoration.schedule)[t]), min(t, steps or restoration.steps)
    method = load_ddpm()
    with (
        machine(params.runtime, announce=False, one_thread=False) as host,
        bar("denoise", -(-len(given.images) // size) * steps) as progress,
        host.autocast(),
    ):
        start = time.perf_counter()
        watched = _watched(method.to(host.device), progress)
        noised, restored = restore(watched, given.images, level, steps, params.seed, size, host.device)
        seconds = time.perf_counter() - start
    scores = [
        {"image": name, "psnr_noised": float(before), "psnr_restored": float(after)}
        for name, before, after in zip(
            given.names, psnr(given.images, noised), psnr(given.images, restored), strict=True
        )
    ]
    about = {"model": "models/ddpm", "images": scores, "t": t, "sampler": "ancestral", "steps": steps}
    groups = {"original": given.images, "noised": noised, "restored": restored}
    return Result(groups, about | {"seed": params.seed, "seconds": seconds})


def _watched(method: Denoising, progress: tqdm) -> Denoising:
    def denoise(x: Tensor, alpha_bar: float) -> Tensor:
        progress.update()
        return method.denoise(x, alpha_bar)

    return SimpleNamespace(denoise=denoise, levels=method.levels)  # type: ignore[return-value]
