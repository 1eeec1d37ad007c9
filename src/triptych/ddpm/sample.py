"""Stage `sample@ddpm`: samples by several samplers and guides, and test images restored from noise.

The network computes in `runtime.precision`. On a CPU several tasks run side by side, each with one thread: the seconds
per image are those of one thread next to others that do the same.
"""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from triptych.core.errors import InputError
from triptych.core.files import write_arrays
from triptych.data.storage import Dataset
from triptych.ddpm.objective import DenoisingObjective, Diffusion, add_noise, load_trained, schedule_betas
from triptych.ddpm.params import LinearSchedule, Sampler, SamplingParams
from triptych.ddpm.samplers import Denoising, ancestral, checked, draw_images, reverse
from triptych.machine.device import Machine
from triptych.machine.randomness import ImageNoise
from triptych.machine.tasks import run_tasks
from triptych.nn.weights import load_weights, snapshot_files
from triptych.training.objective import float_batches, to_float, to_uint8

SHOWN = 64  # images of a sample sheet
RESTORED_SHOWN = 16  # test images in the figure of restorations over t
STRIP_TIMES = (30, 120)  # of the report's figures 35 to 38
STRIP_STATES = 7  # images of a strip
TASKS_AT_ONCE = 8  # each holds the activations of a batch


# --- Guidance ---


@dataclass(frozen=True)
class Autoguidance:
    """A denoiser steered away from the mistakes of a worse version of itself: D_w = D_guide + w (D - D_guide).

    Karras et al. 2024 (arXiv:2406.02507), equation 1. The guide is the same network after fewer epochs: it makes the
    same mistakes, but larger, so that the difference points to the data. Weight w = 1 is `method` alone.
    """

    method: Denoising
    guide: Denoising
    weight: float

    def denoise(self, x: Tensor, alpha_bar: float) -> Tensor:
        """Guided prediction of x0, (B, C, H, W) float32; two network calls."""
        guide = self.guide.denoise(x, alpha_bar)
        return guide + self.weight * (self.method.denoise(x, alpha_bar) - guide)

    def levels(self, steps: int, start: float | None = None) -> list[float]:
        """Noise levels of `method`."""
        return self.method.levels(steps, start)


def load_guide(model: Path, epoch: int, snapshots: dict[int, Path], device: torch.device) -> DenoisingObjective:
    """Load the model in a folder with the weights that were kept after an epoch.

    Raises:
        InputError: none were kept after that epoch, or a file is missing or damaged.
    """
    if epoch not in snapshots:
        kept = ", ".join(map(str, snapshots))
        raise InputError(
            f"sampling.ddpm.guidance: no weights were kept after epoch {epoch}; a guide is one of "
            f"ddpm.training.snapshot_epochs: {kept}"
        )
    guide = load_trained(model, device)
    load_weights(snapshots[epoch], guide.network)
    return guide


# --- Restoration: noise test images to a time t, and run the reverse process back ---
# Times are those of the report's linear schedule, counted from 1. A method with another schedule starts its reverse run
# at the time of equal noise level: the level, not the number of the time, decides what can be restored.


class Restored(NamedTuple):
    """Images at time t and after the reverse run, uint8 (N, C, H, W)."""

    noised: np.ndarray
    restored: np.ndarray


class Strip(NamedTuple):
    """States of one image on its way to time t and back, uint8 (states, C, H, W)."""

    forward: np.ndarray
    backward: np.ndarray


def alpha_bars(schedule: LinearSchedule) -> np.ndarray:
    """(T + 1,) alpha_bar of each time of the schedule; index 0 is the image itself."""
    return Diffusion(schedule_betas(schedule)).alpha_bars


def steps_for(time: int, steps: int) -> int:
    """Steps of the reverse run from a time: at most one for each of the chain's."""
    return min(time, steps)


@torch.inference_mode()
def restore(
    method: Denoising,
    images: np.ndarray,
    alpha_bar: float,
    steps: int,
    seed: int,
    batch_size: int,
    device: torch.device,
) -> Restored:
    """Noise uint8 images (N, C, H, W) to alpha_bar and restore them with the ancestral sampler.

    The noise of image i depends on (seed, i) alone: across times it has the same direction and another length.
    """
    noised, restored, start = [], [], 0
    for x0 in float_batches(images, batch_size, device):
        noise = ImageNoise(seed, "restoration", range(start, start + len(x0)), tuple(x0.shape[1:]), device).normal
        x_t = add_noise(x0, alpha_bar, noise())
        noised.append(to_uint8(x_t).cpu())
        restored.append(to_uint8(reverse(method, x_t, alpha_bar, "ancestral", steps, noise)).cpu())
        start += len(x0)
    return Restored(torch.cat(noised).numpy(), torch.cat(restored).numpy())


@torch.inference_mode()
def restoration_strip(
    method: DenoisingObjective,
    image: np.ndarray,
    forward_levels: list[float],
    steps: int,
    states: int,
    seed: int,
    device: torch.device,
) -> Strip:
    """Noise one uint8 image (C, H, W) to the last of `forward_levels` and restore it.

    Args:
        forward_levels: falling alpha_bar of the states on the way there, the first being 1.
        steps: of the reverse run.
        states: number of states of the way back to keep, both ends included.
    """
    x0 = to_float(torch.as_tensor(np.array(image))[None].to(device))
    noise = ImageNoise(seed, "strip", range(1), tuple(x0.shape[1:]), device).normal
    epsilon = noise()
    forward = [add_noise(x0, level, epsilon) for level in forward_levels]
    levels = method.levels(steps, forward_levels[-1])
    stops = sorted({round(stop) for stop in np.linspace(0, steps, states)})
    backward, x = [forward[-1]], forward[-1]

    def denoise(x_t: Tensor, level: float) -> Tensor:
        return method.denoise(x_t, level).clamp(-1, 1)

    for first, last in zip(stops, stops[1:], strict=False):
        x = ancestral(denoise, x, levels[first : last + 1], noise)
        backward.append(x)
    return Strip(to_uint8(torch.cat(forward)).cpu().numpy(), to_uint8(torch.cat(backward)).cpu().numpy())


def report_levels(levels: np.ndarray, time: int, states: int) -> list[float]:
    """alpha_bar of `states` times from 0 to `time`, evenly spaced up to rounding, from those of all times."""
    return [float(levels[math.floor(t + 0.5)]) for t in np.linspace(0, time, states)]


# --- The stage ---


def draw(
    folder: Path, model: Path, snapshots: Path, dataset: Dataset, params: SamplingParams, seed: int, machine: Machine
) -> list[dict]:
    """Write images.npz to `folder`, with images in uint8 (…, C, H, W):

    - `samples` (N); `guided` (N) from the same noise, with `guidance_weight` and `guidance_epoch`;
    - `compared` (P, n), guided by `compared_epoch` (P,) with `compared_weight` (P,);
    - `cost` (P, n), by `cost_sampler` (P,) in `cost_steps` (P,);
    - `noised` and `restored` (T, n) for `restoration_times` (T,), whose noise has deviation `restoration_sigmas` (T,);
    - `strip_original` (1), `strip_forward` and `strip_backward` (T, states) for `strip_times` (T,);
    - `epoch_samples` (E, n) after each of `epochs` (E,); and `originals`, the first test images.

    Args:
        folder: output folder.
        model: folder of the trained model.
        snapshots: folder of the weights after each snapshot epoch.
        dataset: its test images are noised and restored.
        params: section `sampling`.
        seed: of the noise.
        machine: where to compute.

    Returns:
        Timing rows for `guided` and each sampler at each number of steps: sampler, steps, seconds_per_image, threads.

    Raises:
        InputError: a file is missing, damaged or of another architecture; a guide's weights were not kept; the model's
            noisiest level is not pure noise; or samples are degenerate.
    """
    kept, settings = snapshot_files(snapshots), params.ddpm
    sampler, guidance, restoration = settings.sampler, settings.guidance, settings.restoration
    at_once = machine.at_once(TASKS_AT_ONCE)
    machine = machine.shared(at_once)
    guides = {epoch: load_guide(model, epoch, kept, machine.device) for epoch in guidance.epochs}
    method = load_trained(model, machine.device)
    drawing = Drawing(dataset, params, seed, machine)

    def guided(epoch: int, weight: float) -> Autoguidance:
        return Autoguidance(method, guides[epoch], weight)

    samplers = {f"{one.name} {one.steps}": one for one in settings.cost.samplers}
    compared = {f"guide {epoch}, weight {weight}": (epoch, weight) for epoch, weight in guidance.compared.points}
    # A comparison's samples that equal the first of `samples` or `guided` are not drawn again.
    reused = {name: "guided" for name, point in compared.items() if point == (guidance.epoch, guidance.weight)}
    if settings.cost.samples <= settings.samples:
        reused |= {name: "samples" for name, one in samplers.items() if one == sampler}
    tasks = {
        "samples": partial(drawing.timed, method, sampler, settings.samples),
        "guided": partial(drawing.timed, guided(guidance.epoch, guidance.weight), sampler, settings.samples, "guided"),
        **{name: partial(drawing.timed, method, one, settings.cost.samples) for name, one in samplers.items()},
        **{
            # Not checked: the comparison shows whether too much guidance spoils images.
            name: partial(drawing.timed, guided(*point), sampler, guidance.compared.samples, check=False)
            for name, point in compared.items()
        },
        **{f"restored {t}": partial(drawing.restored, method, t) for t in restoration.times},
        **{f"strip {t}": partial(drawing.strip, method, t) for t in STRIP_TIMES},
        # The weights of the epochs replace the final ones, so they come last.
        **{f"epoch {epoch}": partial(drawing.after_epoch, method, weights) for epoch, weights in kept.items()},
    }
    results = run_tasks("sample@ddpm", {name: task for name, task in tasks.items() if name not in reused}, at_once)
    results |= {name: results[same] for name, same in reused.items()}

    def stacked(names: Iterable[str], count: int) -> np.ndarray:
        images = [results[name][0][:count] for name in names]
        return np.array(images, np.uint8).reshape(len(images), count, *dataset.test.images.shape[1:])

    restored = [results[f"restored {t}"] for t in restoration.times]
    strips = [results[f"strip {t}"] for t in STRIP_TIMES]
    arrays = {
        "originals": np.array(dataset.test.images[:RESTORED_SHOWN]),
        "samples": results["samples"][0],
        "guided": results["guided"][0],
        "guidance_epoch": guidance.epoch,
        "guidance_weight": guidance.weight,
        "compared": stacked(compared, guidance.compared.samples),
        "compared_epoch": [epoch for epoch, _ in compared.values()],
        "compared_weight": [weight for _, weight in compared.values()],
        "cost": stacked(samplers, settings.cost.samples),
        "cost_sampler": np.array([one.name for one in samplers.values()], str),
        "cost_steps": [one.steps for one in samplers.values()],
        "restoration_times": restoration.times,
        "restoration_sigmas": [(1 - drawing.alpha_bars[t]) ** 0.5 for t in restoration.times],
        "noised": [pair.noised for pair in restored],
        "restored": [pair.restored for pair in restored],
        "strip_times": STRIP_TIMES,
        "strip_original": drawing.strip_original[None],
        "strip_forward": [strip.forward for strip in strips],
        "strip_backward": [strip.backward for strip in strips],
        "epochs": list(kept),
        "epoch_samples": [results[f"epoch {epoch}"] for epoch in kept],
    }
    write_arrays(folder / "images.npz", {name: np.asarray(array) for name, array in arrays.items()})
    return [results[name][1] for name in ("guided", *samplers)]


@dataclass(frozen=True)
class Drawing:
    """Settings that the tasks of the stage share."""

    dataset: Dataset
    params: SamplingParams
    seed: int
    machine: Machine

    def images(self, method: Denoising, sampler: Sampler, count: int) -> Tensor:
        """Sample float (count, C, H, W)."""
        shape, size = tuple(self.dataset.train.images.shape[1:]), self.params.batch_size
        with self.machine.autocast():
            return draw_images(method, shape, count, sampler.name, sampler.steps, self.seed, size, self.machine.device)

    def timed(
        self, method: Denoising, sampler: Sampler, count: int, name: str | None = None, check: bool = True
    ) -> tuple[np.ndarray, dict]:
        """Samples in uint8, and their row of timing under the sampler's own name or another."""
        start = time.perf_counter()
        images = self.images(method, sampler, count)
        images = (checked(images) if check else to_uint8(images)).numpy()
        seconds = (time.perf_counter() - start) / count
        row = {"sampler": name or sampler.name, "steps": sampler.steps, "seconds_per_image": seconds}
        return images, row | {"threads": self.machine.threads}

    def restored(self, method: DenoisingObjective, t: int) -> Restored:
        """Test images noised to t, and restored."""
        restoration, level = self.params.ddpm.restoration, float(self.alpha_bars[t])
        images, steps = self.dataset.test.images[: restoration.images], steps_for(t, restoration.steps)
        with self.machine.autocast():
            return restore(method, images, level, steps, self.seed, self.params.batch_size, self.machine.device)

    def strip(self, method: DenoisingObjective, t: int) -> Strip:
        """The report's example, a digit of one class, on its way to t and back."""
        levels = report_levels(self.alpha_bars, t, STRIP_STATES)
        image, steps = self.strip_original, steps_for(t, self.params.ddpm.restoration.steps)
        with self.machine.autocast():
            return restoration_strip(method, image, levels, steps, STRIP_STATES, self.seed, self.machine.device)

    def after_epoch(self, method: DenoisingObjective, weights: Path) -> np.ndarray:
        """Samples with the weights of an epoch, from the same noise at each epoch.

        They are not checked: samples of the first epochs may show nothing yet.
        """
        load_weights(weights, method.network)
        return to_uint8(self.images(method, self.params.ddpm.sampler, SHOWN)).numpy()

    @cached_property
    def alpha_bars(self) -> np.ndarray:
        """alpha_bar of each time of the schedule that restoration counts on."""
        return alpha_bars(self.params.ddpm.restoration.schedule)

    @cached_property
    def strip_original(self) -> np.ndarray:
        """The first test image of the class that the report shows; of any class if there is none."""
        of_class = np.flatnonzero(np.asarray(self.dataset.test.labels) == self.params.ddpm.restoration.strip_class)
        return np.array(self.dataset.test.images[int(of_class[0]) if len(of_class) else 0])
