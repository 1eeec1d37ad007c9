"""The trained VAE and diffusion model: load them, sample, reconstruct, interpolate and denoise.

Functions read params.yaml and models of the project in the working directory; they return arrays and write no files.
Models are loaded on the CPU, so that a problem with them is reported before a device is set up. No code is loaded.
Images are computed in whole batches of one size, because rounding may depend on the size of a batch.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from triptych.cli.images import bar, read_image
from triptych.core.errors import InputError
from triptych.core.schema import Runtime, read, validate
from triptych.data.storage import load
from triptych.ddpm.objective import DenoisingObjective, load_trained
from triptych.ddpm.params import Sampler, SamplerName
from triptych.ddpm.sample import Autoguidance, alpha_bars, load_guide, restore
from triptych.ddpm.samplers import Denoising, checked, evaluations, reverse
from triptych.machine.device import Machine, machine
from triptych.machine.randomness import ImageNoise
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
# More images per batch are hardly faster on a CPU, and few images would take longer. Results do not depend on it: the
# size of batches of two images or more changed no bit on the CPUs tried.
CPU_BATCH = 32
TEST_IMAGES = 8

Prior = Literal["normal", "fitted"]


@dataclass(frozen=True)
class Images:
    """Given images uint8 (N, C, H, W) and their names."""

    names: list[str]
    images: np.ndarray


@dataclass(frozen=True)
class Result:
    """Groups of images, each uint8 (N, C, H, W), by name, and a description for JSON."""

    groups: Mapping[str, np.ndarray]
    about: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class DDPMOptions:
    """Choices for sampling; None takes the value of params.yaml. A guidance weight or epoch implies `guided`."""

    sampler: str | None = None
    steps: int | None = None
    guided: bool = False
    guidance_weight: float | None = None
    guidance_epoch: int | None = None


def read_params(seed: int | None = None) -> SimpleNamespace:
    """Read `seed`, `runtime` and `sampling` of params.yaml, with another seed if one is given."""
    params = read(seed=int, runtime=Runtime, sampling=SamplingParams)
    params.seed = params.seed if seed is None else seed
    return params


# --- models and images ---


def model_folder(name: str) -> Path:
    """Return the folder of a trained model."""
    folder = MODELS / name
    if not all((folder / file).is_file() for file in ("config.json", "model.safetensors")):
        raise InputError(
            f"{folder}: no trained model; `dvc repro {name}` trains it, `dvc pull {name}` fetches it from a remote"
        )
    return folder


def image_shape(name: str) -> tuple[int, int, int]:
    """Return (C, H, W) of a trained model's images."""
    path = model_folder(name) / "config.json"
    try:
        channels, height, width = json.loads(path.read_text(encoding="utf-8"))["network"]["image_shape"]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: not the config of a generative model; `dvc repro {name}` trains it again") from None
    return channels, height, width


def load_vae() -> VAE:
    """Load the trained VAE in eval mode."""
    return load_model(model_folder("vae"), VAE, CPU)[0]


def load_ddpm(epoch: int | None = None) -> DenoisingObjective:
    """Load the trained diffusion model in eval mode, as it is or as it was after an epoch."""
    if epoch is None:
        return load_trained(model_folder("ddpm"), CPU)
    snapshots = snapshot_files(SNAPSHOTS)
    if epoch not in snapshots:
        epochs = ", ".join(map(str, snapshots))
        raise InputError(f"--guidance-epoch {epoch}: no snapshot of that epoch; available: {epochs}")
    return load_guide(model_folder("ddpm"), epoch, snapshots, CPU)


def given_images(model: str, files: Sequence[Path], test: int | None = None) -> Images:
    """Read images for a model from files, or take the first `test` (TEST_IMAGES) test images if there are none."""
    shape = image_shape(model)
    if files and test is not None:
        raise InputError("--test cannot be combined with image files")
    if files:
        return Images([file.as_posix() for file in files], np.stack([read_image(file, shape) for file in files]))
    images, count = load(DATA).test.images, test or TEST_IMAGES
    if images.shape[1:] != shape:
        data, expected = ("×".join(map(str, sides)) for sides in (images.shape[1:], shape))
        raise InputError(f"{DATA}: images are {data}, but the model expects {expected}; `dvc repro` retrains it")
    if count > len(images):
        raise InputError(f"--test {count}: there are {len(images)} test images in {DATA}")
    return Images([f"test image {row}" for row in range(count)], np.array(images[:count]))


# --- samples ---


def draw_prior(prior: Prior, count: int, latents: int, seed: int) -> np.ndarray:
    """Draw (count, latents) float32 from N(0, I), `normal`, or the mixture fitted after training, `fitted`."""
    if validate(Prior, prior, "--prior", Path("vae")) == "normal":
        return prior_draws(count, latents, seed).numpy()
    if not PRIOR.is_file():
        raise InputError(f"{PRIOR}: no fitted prior; `dvc repro sample@vae` fits it, or choose --prior normal")
    mixture = load_mixture(PRIOR)
    if mixture.means.shape[1] != latents:
        raise InputError(
            f"{PRIOR}: fitted to {mixture.means.shape[1]} latents, but models/vae has {latents}; "
            "`dvc repro sample@vae` fits it again"
        )
    return mixture.draw(count, seed)


def sample_vae(count: int, seed: int | None = None, prior: Prior = "normal") -> Result:
    """Draw images from the VAE. With the params and seed of the pipeline they are its samples, whatever the count."""
    params, network = read_params(seed), load_vae()
    z = draw_prior(prior, _whole(count, params.sampling.batch_size), network.mu.out_features, params.seed)
    with machine(params.runtime, announce=False) as host:
        start = time.perf_counter()
        images = _decode(Codec(network.to(host.device), host.device, params.sampling.batch_size), z, "sample vae")
        seconds = time.perf_counter() - start
    about = {"model": "models/vae", "images": count, "prior": prior, "seed": params.seed, "seconds": seconds}
    return Result({"": images[:count]}, about)


def sample_ddpm(count: int, seed: int | None = None, options: DDPMOptions | None = None) -> Result:
    """Draw images from the DDPM. With the pipeline's params and seed they are its samples, whatever the count."""
    params, options = read_params(seed), options or DDPMOptions()
    usual, guidance = params.sampling.ddpm.sampler, params.sampling.ddpm.guidance
    name = validate(SamplerName, options.sampler or usual.name, "--sampler", Path("sample ddpm"))
    sampler = Sampler(name=name, steps=options.steps or usual.steps)
    method, weight, epoch = load_ddpm(), 1.0, None
    if options.guided or options.guidance_weight is not None or options.guidance_epoch is not None:
        weight = guidance.weight if options.guidance_weight is None else options.guidance_weight
        epoch = options.guidance_epoch or guidance.epoch
    guide = None if epoch is None else load_ddpm(epoch)
    with machine(params.runtime, announce=False) as host:
        start = time.perf_counter()
        denoiser: Denoising = method.to(host.device)
        if guide is not None:
            denoiser = Autoguidance(method, guide.to(host.device), weight)
        on_cpu = host.device.type == "cpu"
        size = min(params.sampling.batch_size, CPU_BATCH) if on_cpu else params.sampling.batch_size
        images = _sample(denoiser, sampler, count, size, params.seed, host)
        seconds = time.perf_counter() - start
    about = {"model": "models/ddpm", "images": count, "sampler": sampler.name, "steps": sampler.steps}
    about |= {"guidance_weight": weight, "guidance_epoch": epoch, "seed": params.seed, "seconds": seconds}
    return Result({"": images}, about)


def _sample(method: Denoising, sampler: Sampler, count: int, size: int, seed: int, host: Machine) -> np.ndarray:
    shape, batches = image_shape("ddpm"), range(0, _whole(count, size), size)
    samples = []
    with (
        bar("sample ddpm", len(batches) * evaluations(sampler.name, method.levels(sampler.steps))) as progress,
        host.autocast(),
    ):
        watched = Watched(method, progress)
        for start in batches:
            noise = ImageNoise(seed, "samples", range(start, start + size), shape, host.device).normal
            samples.append(reverse(watched, noise(), None, sampler.name, sampler.steps, noise).cpu())
    return checked(torch.cat(samples)).numpy()[:count]


def _whole(count: int, size: int) -> int:
    """Return the number of images in the whole batches that hold `count`."""
    return -(-count // size) * size


# --- images through the models ---


def reconstruct(given: Images) -> Result:
    """Encode images to the mean of q(z|x) and decode them with the VAE."""
    params, network = read_params(), load_vae()
    with machine(params.runtime, announce=False) as host:
        start = time.perf_counter()
        codec = Codec(network.to(host.device), host.device, params.sampling.batch_size)
        images = _decode(codec, codec.encode(given.images), "reconstruct")
        seconds = time.perf_counter() - start
    scores = [
        {"image": name, "psnr": float(decibels)}
        for name, decibels in zip(given.names, psnr(given.images, images), strict=True)
    ]
    groups = {"original": given.images, "reconstruction": images}
    return Result(groups, {"model": "models/vae", "images": scores, "seconds": seconds})


def interpolate(ends: Images | None, steps: int, seed: int | None = None, prior: Prior | None = None) -> Result:
    """Decode `steps` points on a straight line through the VAE's latents, both ends included.

    The ends are two images; without them, the first two draws of the prior (`normal` by default) for the seed.
    """
    if ends and len(ends.names) != 2:
        raise InputError(f"interpolate expects two images, or none for random endpoints; got {len(ends.names)}")
    if ends and (seed is not None or prior is not None):
        raise InputError("interpolate: --seed and --prior choose random points; two images were given instead")
    params, network = read_params(seed), load_vae()
    if not ends:
        prior = prior or "normal"
        z = draw_prior(prior, 2, network.mu.out_features, params.seed)
    with machine(params.runtime, announce=False) as host:
        start = time.perf_counter()
        codec = Codec(network.to(host.device), host.device, params.sampling.batch_size)
        if ends:
            z = codec.encode(ends.images)
        images = codec.decode(interpolation_paths(z, labels=np.arange(2), pairs=1, steps=steps)[0])
        seconds = time.perf_counter() - start
    about: dict[str, Any] = {"model": "models/vae", "between": ends.names if ends else None, "prior": prior}
    about |= {"seed": None if ends else params.seed, "steps": steps, "seconds": seconds}
    return Result({"": images}, about)


def denoise(given: Images, t: int, steps: int | None = None, seed: int | None = None) -> Result:
    """Noise images to time t of the report's linear schedule and restore them by the ancestral sampler."""
    params = read_params(seed)
    restoration, size = params.sampling.ddpm.restoration, params.sampling.batch_size
    if not 1 <= t <= restoration.schedule.steps:
        raise InputError(f"--t {t}: out of range; must be 1 to {restoration.schedule.steps}")
    level, steps = float(alpha_bars(restoration.schedule)[t]), min(t, steps or restoration.steps)
    method = load_ddpm()
    with (
        machine(params.runtime, announce=False) as host,
        bar("denoise", -(-len(given.images) // size) * steps) as progress,
        host.autocast(),
    ):
        start = time.perf_counter()
        watched = Watched(method.to(host.device), progress)
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


def _decode(codec: Codec, z: np.ndarray, command: str) -> np.ndarray:
    images = []
    with bar(command, len(z)) as progress:
        for start in range(0, len(z), codec.batch_size):
            images.append(codec.decode(z[start : start + codec.batch_size]))
            progress.update(len(images[-1]))
    return np.concatenate(images)


@dataclass(frozen=True)
class Watched:
    """A denoiser that advances a progress bar at every call."""

    method: Denoising
    progress: tqdm

    def denoise(self, x: Tensor, alpha_bar: float) -> Tensor:
        """Return the method's prediction."""
        x0 = self.method.denoise(x, alpha_bar)
        self.progress.update()
        return x0

    def levels(self, steps: int, start: float | None = None) -> list[float]:
        """Return the method's noise levels."""
        return self.method.levels(steps, start)
