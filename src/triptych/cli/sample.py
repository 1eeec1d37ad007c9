"""Samples of the trained VAE or diffusion model, the same images as those of the pipeline for equal params and seed.

Images are drawn in whole batches of one size, of which the first `count` are kept: how an image is rounded may depend
on the size of its batch, and so does not depend on `count`.
"""

import time
from pathlib import Path

import numpy as np
import torch

from triptych.cli import pictures, trained
from triptych.cli.progress import Watched, bar
from triptych.core.errors import InputError
from triptych.core.schema import read, validate
from triptych.ddpm.params import Guidance, Sampler, SamplerName
from triptych.ddpm.sample import Autoguidance
from triptych.ddpm.samplers import Denoising, checked, evaluations, reverse
from triptych.machine.device import Machine, machine
from triptych.machine.params import Runtime
from triptych.machine.randomness import ImageNoise
from triptych.params import SamplingParams
from triptych.vae.sample import Codec, prior_draws

# Images of a batch on a CPU, at most: it is hardly faster with more, and who asks for few does not wait for many. The
# pipeline's images come out all the same: of batches of several images, neither their size nor the number of threads
# changed a bit on the CPUs tried.
CPU_BATCH = 32
PRIORS = ("normal", "fitted")


def whole_batches(count: int, size: int) -> int:
    """The least multiple of `size` that holds `count`."""
    return -(-count // size) * size


def prior_points(prior: str, count: int, latents: int, seed: int) -> np.ndarray:
    """(count, latents) float32 draws from N(0, I), `normal`, or the mixture fitted after training, `fitted`.

    Raises:
        InputError: another prior, or one that is not fitted yet; see `trained.fitted_prior`.
    """
    if prior not in PRIORS:
        raise InputError(f"--prior {prior}: allowed are {', '.join(PRIORS)}")
    if prior == "fitted":
        return trained.fitted_prior(latents).draw(count, seed)
    return prior_draws(count, latents, seed).numpy()


def from_vae(count: int, out: str, seed: int | None, prior: str, force: bool) -> dict:
    """Writes `count` images of the VAE.

    Args:
        count: how many.
        out: where to, see `pictures.target`.
        seed: of the draws from the prior; None for that of params.yaml.
        prior: `normal` or `fitted`, see `prior_points`.
        force: whether files may be replaced.

    Returns:
        What was done: `written`, `model`, `images`, `prior`, `seed`, `seconds`.

    Raises:
        InputError: params, a model, a prior or a place to write to is missing or wrong.
    """
    params = read(seed=int, runtime=Runtime, sampling=SamplingParams)
    seed, size = params.seed if seed is None else seed, params.sampling.batch_size
    network = trained.vae()
    z = prior_points(prior, whole_batches(count, size), network.mu.out_features, seed)
    target = pictures.target(out, pictures.numbered(count), force)
    with machine(params.runtime, announce=False) as place, bar("sample vae", len(z)) as done:
        clock = time.perf_counter()
        codec, parts = Codec(network.to(place.device), place.device, size), []
        for start in range(0, len(z), size):
            parts.append(codec.decode(z[start : start + size]))
            done.update(size)
        seconds = time.perf_counter() - clock
    written = target.write(np.concatenate(parts)[:count], pictures.columns_for(count))
    about = {"model": "models/vae", "images": count, "prior": prior, "seed": seed}
    return {"written": written, **about, "seconds": seconds}


def from_ddpm(
    count: int,
    out: str,
    seed: int | None,
    sampler: str | None,
    steps: int | None,
    guided: bool,
    guidance_weight: float | None,
    guidance_epoch: int | None,
    force: bool,
) -> dict:
    """Writes `count` images of the diffusion model.

    Args:
        count: how many.
        out: where to, see `pictures.target`.
        seed: of the noise; None for that of params.yaml.
        sampler, steps: None for those of params.yaml.
        guided: whether an earlier self guides, with the weight and the epoch of params.yaml.
        guidance_weight, guidance_epoch: others than those; each of them asks for guidance.
        force: whether files may be replaced.

    Returns:
        What was done: `written`, `model`, `images`, `sampler`, `steps`, `guidance_weight` (1 without guidance) and
        `guidance_epoch` (None without), `seed`, `seconds`.

    Raises:
        InputError: params, a model, a guide, or a place to write to is missing or wrong; or samples are no images.
    """
    params = read(seed=int, runtime=Runtime, sampling=SamplingParams)
    seed, how = params.seed if seed is None else seed, params.sampling.ddpm
    chosen = _sampler(how.sampler, sampler, steps)
    method = trained.ddpm()
    guided = guided or guidance_weight is not None or guidance_epoch is not None
    weight, epoch = _guidance(how.guidance, guidance_weight, guidance_epoch) if guided else (1.0, None)
    guide = None if epoch is None else trained.guide(epoch)
    shape = trained.image_shape("ddpm")
    target = pictures.target(out, pictures.numbered(count), force)
    with machine(params.runtime, announce=False) as place:
        clock = time.perf_counter()
        method.to(place.device)
        denoiser = method if guide is None else Autoguidance(method, guide.to(place.device), weight)
        size = params.sampling.batch_size
        size = min(size, CPU_BATCH) if place.device.type == "cpu" else size
        images = drawn(denoiser, chosen, shape, count, size, seed, place)
        seconds = time.perf_counter() - clock
    written = target.write(images, pictures.columns_for(count))
    about = {"model": "models/ddpm", "images": count, "sampler": chosen.name, "steps": chosen.steps}
    about |= {"guidance_weight": weight, "guidance_epoch": epoch, "seed": seed}
    return {"written": written, **about, "seconds": seconds}


def drawn(
    method: Denoising,
    sampler: Sampler,
    shape: tuple[int, int, int],
    count: int,
    size: int,
    seed: int,
    place: Machine,
) -> np.ndarray:
    """The first `count` images (count, C, H, W) uint8 of a method, in whole batches of `size`.

    Raises:
        InputError: the model's noisiest images are not pure noise, or samples are no images.
    """
    whole, calls = whole_batches(count, size), evaluations(sampler.name, method.levels(sampler.steps))
    parts = []
    with bar("sample ddpm", whole // size * calls) as done, place.autocast():
        watched = Watched(method, done)
        for start in range(0, whole, size):
            noise = ImageNoise(seed, "samples", range(start, start + size), shape, place.device).normal
            parts.append(reverse(watched, noise(), None, sampler.name, sampler.steps, noise).cpu())
    return checked(torch.cat(parts)).numpy()[:count]


def _sampler(usual: Sampler, name: str | None, steps: int | None) -> Sampler:
    """That of params.yaml, with what is asked for in its place."""
    name = usual.name if name is None else validate(SamplerName, name, "--sampler", Path("sample ddpm"))
    return Sampler(name=name, steps=steps or usual.steps)


def _guidance(usual: Guidance, weight: float | None, epoch: int | None) -> tuple[float, int]:
    """Weight and epoch of params.yaml, with what is asked for in their place."""
    return usual.weight if weight is None else weight, usual.epoch if epoch is None else epoch
