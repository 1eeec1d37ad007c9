"""What is drawn from a trained diffusion model: samples by several samplers, and test images noised and restored.

The network is called in the precision of `runtime.precision`.
"""

import time
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from torch import Tensor

from triptych.core.machine import Machine
from triptych.core.model_files import load_weights
from triptych.core.parts import merged
from triptych.core.snapshots import snapshot_files
from triptych.data.batches import to_uint8
from triptych.data.storage import Dataset
from triptych.ddpm.denoising import DenoisingObjective
from triptych.ddpm.trained import load_trained
from triptych.sampling.params import DDPMSampling, Sampler, SamplingParams
from triptych.sampling.restoration import alpha_bars, report_levels, restoration_strip, restore, steps_for
from triptych.sampling.samplers import checked, draw_images

SHOWN = 64  # images of a sample sheet
RESTORED_SHOWN = 16  # test images in the figure of restorations over t
STRIP_TIMES = (30, 120)  # of the report's figures 35 to 38
STRIP_STATES = 7  # images of a strip


def draw(
    model: Path, snapshots: Path, dataset: Dataset, params: SamplingParams, seed: int, place: Machine
) -> tuple[dict[str, np.ndarray], list[dict]]:
    """Everything that is drawn from a trained diffusion model.

    Args:
        model: folder of the trained model.
        snapshots: folder of the weights after each snapshot epoch.
        dataset: what it was trained on; its test images are noised and restored.
        params: how much to draw, and by which samplers.
        seed: of the noise.
        place: where to compute.

    Returns:
        The arrays, images in uint8 (N, C, H, W): `originals`, the first test images; `samples`;
        `cost_<sampler>_<steps>` of each sampler at each number of steps; `restoration_times` and `restoration_sigmas`,
        t and the standard deviation of its noise; `noised_<t>` and `restored_<t>` of as many test images as are
        restored; `strip_original`, and `strip_forward_<t>` and `strip_backward_<t>`, its way to t and back;
        `samples_<epoch>` after each snapshot epoch. And a row of timing for each sampler at each number of steps:
        sampler, steps, seconds_per_image.

    Raises:
        InputError: a file is missing, damaged or of another architecture, or samples are no images.
    """
    drawing = Drawing(load_trained(model, place.device), dataset, params.ddpm, params.batch_size, seed, place)
    timing: list[dict] = []
    parts = {"samples": drawing.samples}
    parts |= {f"{point.name} {point.steps}": partial(drawing.cost, point, timing) for point in params.ddpm.cost.points}
    parts |= {f"restored {t}": partial(drawing.restored, t) for t in params.ddpm.restoration.times}
    parts |= {f"strip {t}": partial(drawing.strip, t) for t in STRIP_TIMES}
    # The weights of the epochs replace the final ones, so they come last.
    parts |= {
        f"epoch {epoch}": partial(drawing.after_epoch, epoch, weights)
        for epoch, weights in snapshot_files(snapshots).items()
    }
    return drawing.given() | merged("sample@ddpm", parts), timing


@dataclass(frozen=True)
class Drawing:
    """One model, and what is drawn from it; each method returns arrays by name, see `draw`."""

    method: DenoisingObjective
    dataset: Dataset
    params: DDPMSampling
    batch_size: int
    seed: int
    place: Machine

    def given(self) -> dict[str, np.ndarray]:
        """What needs no model: originals, and the noise of each time."""
        times = self.params.restoration.times
        return {
            "originals": np.array(self.dataset.test.images[:RESTORED_SHOWN]),
            "strip_original": self._strip_original[None],
            "restoration_times": np.array(times),
            "restoration_sigmas": np.array([(1 - self._alpha_bars[t]) ** 0.5 for t in times]),
        }

    def samples(self) -> dict[str, np.ndarray]:
        """The samples that are measured."""
        return {"samples": checked(self._draw(self.params.sampler, self.params.samples)).numpy()}

    def cost(self, point: Sampler, timing: list[dict]) -> dict[str, np.ndarray]:
        """The samples of a point of the comparison of samplers; the seconds that each took go to `timing`."""
        count, clock = self.params.cost.samples, time.perf_counter()
        # No larger batches than are asked for: the seconds are those of an image, not of noise for a whole batch.
        images = checked(self._draw(point, count, min(count, self.batch_size))).numpy()
        each = (time.perf_counter() - clock) / count
        timing.append({"sampler": point.name, "steps": point.steps, "seconds_per_image": each})
        return {f"cost_{point.name}_{point.steps}": images}

    def restored(self, t: int) -> dict[str, np.ndarray]:
        """Test images noised to t, and what the reverse run makes of them."""
        how, level = self.params.restoration, float(self._alpha_bars[t])
        images, steps = self.dataset.test.images[: how.images], steps_for(t, how.steps)
        with self.place.autocast():
            pair = restore(self.method, images, level, steps, self.seed, self.batch_size, self.place.device)
        return {f"noised_{t}": pair.noised, f"restored_{t}": pair.restored}

    def strip(self, t: int) -> dict[str, np.ndarray]:
        """The report's example, a digit of one class, on its way to t and back."""
        levels = report_levels(self._alpha_bars, t, STRIP_STATES)
        steps = steps_for(t, self.params.restoration.steps)
        image, device = self._strip_original, self.place.device
        with self.place.autocast():
            strip = restoration_strip(self.method, image, levels, steps, STRIP_STATES, self.seed, device)
        return {f"strip_forward_{t}": strip.forward, f"strip_backward_{t}": strip.backward}

    def after_epoch(self, epoch: int, weights: Path) -> dict[str, np.ndarray]:
        """Samples by the weights of an epoch, which replace those before; all epochs start from the same noise.

        They are not checked: that the first of them show nothing yet is what these sheets are for.
        """
        load_weights(weights, self.method.network)
        return {f"samples_{epoch}": to_uint8(self._draw(self.params.sampler, SHOWN)).numpy()}

    def _draw(self, sampler: Sampler, count: int, at_once: int | None = None) -> Tensor:
        shape = tuple(self.dataset.train.images.shape[1:])
        size, device = at_once or self.batch_size, self.place.device
        with self.place.autocast():
            return draw_images(self.method, shape, count, sampler.name, sampler.steps, self.seed, size, device)

    @cached_property
    def _alpha_bars(self) -> np.ndarray:
        return alpha_bars(self.params.restoration.schedule)

    @cached_property
    def _strip_original(self) -> np.ndarray:
        """The first test image of the class that the report shows; of any class, where there is none of it."""
        of_class = np.flatnonzero(np.asarray(self.dataset.test.labels) == self.params.restoration.strip_class)
        return np.array(self.dataset.test.images[int(of_class[0]) if len(of_class) else 0])
