"""Stage `sample@ddpm`: draw samples from the diffusion model, and restore noised test images.

`runtime.precision` in params.yaml sets the precision of the network. On a CPU, several tasks run at the same time
with one thread each, so the seconds per image are measured on one thread while other threads are busy.
"""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from triptych.core.errors import InputError
from triptych.core.files import write_arrays
from triptych.data.storage import Dataset
from triptych.ddpm.objective import Denoising, DenoisingObjective, add_noise, decay, load_trained
from triptych.ddpm.params import LinearSchedule, Restoration, Sampler, SamplingParams
from triptych.ddpm.samplers import ancestral, checked, clipped, draw_images, reverse
from triptych.machine.device import Machine
from triptych.machine.tasks import run_tasks
from triptych.measures.images import ImageNoise, float_batches, to_uint8
from triptych.nn.weights import load_weights, snapshot_files
from triptych.training.objective import to_float

SHOWN = 64  # samples per sheet
RESTORED_SHOWN = 16  # test images in the figure of restorations over t
STRIP_TIMES = (30, 120)  # times of the report's figures 35 to 38
STRIP_STATES = 7  # images per strip
TASKS_AT_ONCE = 8  # more would need too much memory: each task keeps the activations of a batch


# --- Guidance ---


@dataclass(frozen=True)
class Autoguidance:
    """Guided denoiser D_guide + weight (D - D_guide) (Karras et al. 2024, arXiv:2406.02507, equation 1).

    `method` is the denoiser D. `guide` is D_guide, a snapshot of the same network from an earlier epoch. D_guide has
    similar but larger errors, so D - D_guide points towards the data. Weight 1 means no guidance.
    """

    method: Denoising
    guide: Denoising
    weight: float

    def denoise(self, x: Tensor, alpha_bar: float) -> Tensor:
        """Return the guided prediction of x0 as a float32 tensor (B, C, H, W). Each network is called once."""
        guide = self.guide.denoise(x, alpha_bar)
        return guide + self.weight * (self.method.denoise(x, alpha_bar) - guide)

    def levels(self, steps: int, start: float | None = None) -> list[float]:
        """Return the noise levels of the denoiser `method`; see `Denoising.levels`."""
        return self.method.levels(steps, start)


def load_guide(model: Path, epoch: int, snapshots: dict[int, Path], device: torch.device) -> DenoisingObjective:
    """Load the network in the folder `model`, but with the weights in the snapshot file `snapshots[epoch]`.

    Raises InputError if there is no snapshot of this epoch, or if a file is missing or damaged.
    """
    if epoch not in snapshots:
        raise InputError(
            f"sampling.ddpm.guidance: there is no snapshot of epoch {epoch}; use one of ddpm.training.snapshot_epochs "
            f"({', '.join(map(str, snapshots))})"
        )
    guide = load_trained(model, device)
    load_weights(snapshots[epoch], guide.network)
    return guide


# --- Restoration: noise test images to a time t, and run the reverse process back ---
# Times are those of the report's linear schedule, from 1. With another schedule, a model starts its reverse process at
# the time of equal noise level, because the noise level decides what can be restored.


def alpha_bars(schedule: LinearSchedule) -> np.ndarray:
    """Return alpha_bar at the times 0 to T of a noise schedule, as an array of shape (T + 1,)."""
    return np.exp(-decay(schedule))


@torch.inference_mode()
def restore(
    method: Denoising, images: np.ndarray, level: float, steps: int, seed: int, batch_size: int, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Add noise to uint8 images up to the level alpha_bar = `level`, and restore them in `steps` ancestral steps.

    Return the noised and the restored images as uint8 arrays. The noise of image i depends only on `seed` and i.
    """
    noised, restored, start = [], [], 0
    for x0 in float_batches(images, batch_size, device):
        noise = ImageNoise(seed, "restoration", range(start, start + len(x0)), tuple(x0.shape[1:]), device).normal
        x_t = add_noise(x0, level, noise())
        noised.append(to_uint8(x_t).cpu())
        restored.append(to_uint8(reverse(method, x_t, level, "ancestral", steps, noise)).cpu())
        start += len(x0)
    return torch.cat(noised).numpy(), torch.cat(restored).numpy()


@torch.inference_mode()
def restoration_strip(
    method: Denoising, image: np.ndarray, t: int, restoration: Restoration, seed: int, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Add noise to a uint8 image up to time t, and restore it in min(t, `restoration.steps`) ancestral steps.

    Return two arrays of shape (states, C, H, W). The first contains STRIP_STATES states of the image from time 0 to t.
    The second contains at most STRIP_STATES states from time t back to time 0, where the image is restored.
    """
    x0 = to_float(torch.as_tensor(np.array(image))[None].to(device))
    noise = ImageNoise(seed, "strip", range(1), tuple(x0.shape[1:]), device).normal
    epsilon, alpha_bar, steps = noise(), alpha_bars(restoration.schedule), min(t, restoration.steps)
    times = [math.floor(time + 0.5) for time in np.linspace(0, t, STRIP_STATES)]
    forward = [add_noise(x0, float(alpha_bar[time]), epsilon) for time in times]
    levels = method.levels(steps, float(alpha_bar[t]))
    stops = sorted({round(stop) for stop in np.linspace(0, steps, STRIP_STATES)})
    backward = [forward[-1]]
    for first, last in zip(stops, stops[1:], strict=False):
        backward.append(ancestral(clipped(method), backward[-1], levels[first : last + 1], noise))
    return to_uint8(torch.cat(forward)).cpu().numpy(), to_uint8(torch.cat(backward)).cpu().numpy()


# --- The stage ---


def draw(
    folder: Path, model: Path, snapshots: Path, dataset: Dataset, params: SamplingParams, seed: int, machine: Machine
) -> list[dict]:
    """Draw the samples and restorations of the stage `sample@ddpm`, and write them to `folder`/images.npz.

    `model` is the folder of the trained model, and `snapshots` is the folder of the weights saved after some epochs.
    Raises InputError if samples are degenerate, or if a file is missing or invalid.

    images.npz contains arrays of uint8 images and arrays that describe them. Shapes of images are given without the
    axes (C, H, W). N is the number of samples; n, P and T differ between the items:

    - `samples` (N,): samples without guidance; `guided` (N,): samples from the same noise, guided by the snapshot of
      epoch `guidance_epoch` with the weight `guidance_weight`;
    - `compared` (P, n): n samples for each pair of `compared_epoch` (P,) and `compared_weight` (P,);
    - `cost` (P, n): n samples for each pair of `cost_sampler` (P,) and `cost_steps` (P,);
    - `noised` (T, n): test images at each of `restoration_times` (T,), with noise of standard deviation
      `restoration_sigmas` (T,); `restored` (T, n): the same images after restoration;
    - `strip_original` (1,): a test image; `strip_forward` (T, states): its states from time 0 to each of `strip_times`
      (T,); `strip_backward` (T, states): its states from each of `strip_times` back to time 0;
    - `epoch_samples` (E, n): n samples with the weights after each of `epochs` (E,);
    - `originals` (n,): the first test images.

    Returns:
        Rows with sampler, steps, seconds_per_image and threads: one for `guided`, and one for each pair of `cost`.
    """
    kept, settings = snapshot_files(snapshots), params.ddpm
    sampler, guidance, restoration = settings.sampler, settings.guidance, settings.restoration
    at_once = machine.at_once(TASKS_AT_ONCE)
    guides = {epoch: load_guide(model, epoch, kept, machine.device) for epoch in guidance.epochs}
    method = load_trained(model, machine.device)
    drawing, alpha_bar = Drawing(dataset, params, seed, machine), alpha_bars(restoration.schedule)
    # The example of the strips is the first test image of the class, or of all if the class has none.
    of_class = np.flatnonzero(np.asarray(dataset.test.labels) == restoration.strip_class)
    original = np.array(dataset.test.images[int(of_class[0]) if len(of_class) else 0])

    def guided(epoch: int, weight: float) -> Autoguidance:
        return Autoguidance(method, guides[epoch], weight)

    samplers = {f"{one.name} {one.steps}": one for one in settings.cost.samplers}
    compared = {f"guide {epoch}, weight {weight}": (epoch, weight) for epoch, weight in guidance.compared.points}
    # Samples of a comparison that equal the first of `samples` or `guided` are not drawn again.
    reused = {name: "guided" for name, point in compared.items() if point == (guidance.epoch, guidance.weight)}
    if settings.cost.samples <= settings.samples:
        reused |= {name: "samples" for name, one in samplers.items() if one == sampler}
    tasks = {
        "samples": partial(drawing.timed, method, sampler, settings.samples),
        "guided": partial(drawing.timed, guided(guidance.epoch, guidance.weight), sampler, settings.samples, "guided"),
        **{name: partial(drawing.timed, method, one, settings.cost.samples) for name, one in samplers.items()},
        **{
            # Not checked, because too much guidance may well spoil images, which the comparison shows.
            name: partial(drawing.timed, guided(*point), sampler, guidance.compared.samples, check=False)
            for name, point in compared.items()
        },
        **{f"restored {t}": partial(drawing.restored, method, t, float(alpha_bar[t])) for t in restoration.times},
        **{f"strip {t}": partial(drawing.strip, method, original, t) for t in STRIP_TIMES},
        # Last, because these tasks replace the final weights.
        **{f"epoch {epoch}": partial(drawing.after_epoch, method, weights) for epoch, weights in kept.items()},
    }
    results = run_tasks("sample@ddpm", {name: task for name, task in tasks.items() if name not in reused}, at_once)
    results |= {name: results[same] for name, same in reused.items()}

    def stacked(names: Iterable[str], count: int) -> np.ndarray:
        images = [results[name][0][:count] for name in names]
        return np.array(images, np.uint8).reshape(len(images), count, *dataset.test.images.shape[1:])

    noised, restored = zip(*(results[f"restored {t}"] for t in restoration.times), strict=True)
    forward, backward = zip(*(results[f"strip {t}"] for t in STRIP_TIMES), strict=True)
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
        "restoration_sigmas": [(1 - alpha_bar[t]) ** 0.5 for t in restoration.times],
        "noised": noised,
        "restored": restored,
        "strip_times": STRIP_TIMES,
        "strip_original": original[None],
        "strip_forward": forward,
        "strip_backward": backward,
        "epochs": list(kept),
        "epoch_samples": [results[f"epoch {epoch}"] for epoch in kept],
    }
    write_arrays(folder / "images.npz", {name: np.asarray(array) for name, array in arrays.items()})
    return [results[name][1] for name in ("guided", *samplers)]


@dataclass(frozen=True)
class Drawing:
    """Tasks of the stage `sample@ddpm`, and the settings that these tasks share."""

    dataset: Dataset
    params: SamplingParams
    seed: int
    machine: Machine

    def images(self, method: Denoising, sampler: Sampler, count: int) -> Tensor:
        """Draw `count` samples, and return them on the CPU as floats of shape (count, C, H, W)."""
        shape, size = tuple(self.dataset.train.images.shape[1:]), self.params.batch_size
        with self.machine.autocast():
            return draw_images(method, shape, count, sampler.name, sampler.steps, self.seed, size, self.machine.device)

    def timed(
        self, method: Denoising, sampler: Sampler, count: int, name: str | None = None, check: bool = True
    ) -> tuple[np.ndarray, dict]:
        """Draw `count` samples. Return them as uint8 images, and a table row with the seconds per image.

        The name of the sampler in the row is `name`, or `sampler.name` if `name` is None. Raises InputError if `check`
        is True and the samples are degenerate.
        """
        start = time.perf_counter()
        images = self.images(method, sampler, count)
        images = (checked(images) if check else to_uint8(images)).numpy()
        seconds = (time.perf_counter() - start) / count
        row = {"sampler": name or sampler.name, "steps": sampler.steps, "seconds_per_image": seconds}
        return images, row | {"threads": torch.get_num_threads()}

    def restored(self, method: Denoising, t: int, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Return test images noised to time t (alpha_bar = `level`), and the same images restored; see `restore`."""
        restoration, size = self.params.ddpm.restoration, self.params.batch_size
        images, steps = self.dataset.test.images[: restoration.images], min(t, restoration.steps)
        with self.machine.autocast():
            return restore(method, images, level, steps, self.seed, size, self.machine.device)

    def strip(self, method: Denoising, image: np.ndarray, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the states of an image from time 0 to t, and from t back to 0; see `restoration_strip`."""
        with self.machine.autocast():
            return restoration_strip(method, image, t, self.params.ddpm.restoration, self.seed, self.machine.device)

    def after_epoch(self, method: DenoisingObjective, weights: Path) -> np.ndarray:
        """Load the weights in the file `weights` into `method`, and return uint8 samples. The noise is always the same.

        The samples are not checked, because samples of the first epochs are often degenerate.
        """
        load_weights(weights, method.network)
        return to_uint8(self.images(method, self.params.ddpm.sampler, SHOWN)).numpy()
