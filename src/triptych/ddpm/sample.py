"""What is drawn from a trained diffusion model: samples by several samplers and guides, and test images restored.

The network is called in the precision of `runtime.precision`. On a CPU several parts are drawn side by side, each by
one thread: then the seconds of an image are those of one thread beside others that do the same.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from torch import Tensor

from triptych.data.drawn import Drawn, together
from triptych.data.storage import Dataset
from triptych.ddpm.denoising import DenoisingObjective
from triptych.ddpm.guidance import Autoguidance, load_guide
from triptych.ddpm.restoration import alpha_bars, report_levels, restoration_strip, restore, steps_for
from triptych.ddpm.samplers import Denoising, checked, draw_images
from triptych.ddpm.trained import load_trained
from triptych.machine.device import Machine
from triptych.machine.processes import run_parts
from triptych.measures.sampling_params import DDPMSampling, Sampler, SamplingParams
from triptych.nn.weights import load_weights, snapshot_files
from triptych.training.objective import to_uint8

SHOWN = 64  # images of a sample sheet
RESTORED_SHOWN = 16  # test images in the figure of restorations over t
STRIP_TIMES = (30, 120)  # of the report's figures 35 to 38
STRIP_STATES = 7  # images of a strip
PARTS_AT_ONCE = 8  # at most: each holds activations of a batch


def draw(model: Path, snapshots: Path, dataset: Dataset, params: SamplingParams, seed: int, place: Machine) -> Drawn:
    """Everything that is drawn from a trained diffusion model.

    Args:
        model: folder of the trained model.
        snapshots: folder of the weights after each snapshot epoch.
        dataset: what it was trained on; its test images are noised and restored.
        params: how much to draw, and by which samplers.
        seed: of the noise.
        place: where to compute.

    Returns:
        The arrays, images in uint8 (N, C, H, W): `originals`, the first test images; `samples`; `guided`, as many from
        the same noise, and their `guidance_weight` and `guidance_epoch`; `guided_<epoch>_<weight>` of each guidance
        that is compared; `cost_<sampler>_<steps>` of each sampler at each number of steps; `restoration_times` and
        `restoration_sigmas`, t and the standard deviation of its noise; `noised_<t>` and `restored_<t>` of as many test
        images as are restored; `strip_original`, and `strip_forward_<t>` and `strip_backward_<t>`, its way to t and
        back; `samples_<epoch>` after each snapshot epoch. And a row of timing for `guided`, and for each sampler at
        each number of steps: sampler, steps, seconds_per_image, threads.

    Raises:
        InputError: a file is missing, damaged or of another architecture; a guide's weights were not kept; the model's
            noisiest images are not pure noise; or samples are no images.
    """
    kept, how = snapshot_files(snapshots), params.ddpm
    at_once = place.at_once(PARTS_AT_ONCE)
    place = place.shared(at_once)
    guides = {epoch: load_guide(model, epoch, kept, place.device) for epoch in how.guidance.epochs}
    drawing = Drawing(load_trained(model, place.device), guides, dataset, how, params.batch_size, seed, place)
    parts = {"samples": drawing.samples, "guided": drawing.guided}
    parts |= {
        f"{point.name} {point.steps}": partial(drawing.cost, point)
        for point in how.cost.points
        if not how.is_among_samples(point)
    }
    parts |= {
        f"guide {epoch}, weight {weight}": partial(drawing.compared, epoch, weight)
        for epoch in how.guidance.compared.epochs
        for weight in how.guidance.compared.weights
        if (epoch, weight) != (how.guidance.epoch, how.guidance.weight)
    }
    parts |= {f"restored {t}": partial(drawing.restored, t) for t in how.restoration.times}
    parts |= {f"strip {t}": partial(drawing.strip, t) for t in STRIP_TIMES}
    # The weights of the epochs replace the final ones, so they come last.
    parts |= {f"epoch {epoch}": partial(drawing.after_epoch, epoch, weights) for epoch, weights in kept.items()}
    return together([drawing.given(), *run_parts("sample@ddpm", parts, at_once).values()])


@dataclass(frozen=True)
class Drawing:
    """One model, and what is drawn from it; for the names of the arrays see `draw`."""

    method: DenoisingObjective
    guides: Mapping[int, DenoisingObjective]
    dataset: Dataset
    params: DDPMSampling
    batch_size: int
    seed: int
    place: Machine

    def given(self) -> Drawn:
        """What needs no model: originals, the guidance, and the noise of each time."""
        times, guidance = self.params.restoration.times, self.params.guidance
        return Drawn(
            {
                "originals": np.array(self.dataset.test.images[:RESTORED_SHOWN]),
                "guidance_weight": np.array(guidance.weight),
                "guidance_epoch": np.array(guidance.epoch),
                "strip_original": self._strip_original[None],
                "restoration_times": np.array(times),
                "restoration_sigmas": np.array([(1 - self._alpha_bars[t]) ** 0.5 for t in times]),
            }
        )

    def samples(self) -> Drawn:
        """The samples that are measured, and the first of them for the comparison of samplers, where it has theirs."""
        sampler, count, clock = self.params.sampler, self.params.samples, time.perf_counter()
        images = checked(self._draw(self.method, sampler, count)).numpy()
        if not self.params.is_among_samples(sampler):
            return Drawn({"samples": images})
        row = self._timed(sampler.name, sampler.steps, clock, count)
        return Drawn({"samples": images, _cost_name(sampler): images[: self.params.cost.samples]}, [row])

    def cost(self, point: Sampler) -> Drawn:
        """The samples of a point of the comparison of samplers, and the seconds that each took."""
        count, clock = self.params.cost.samples, time.perf_counter()
        images = checked(self._draw(self.method, point, count)).numpy()
        row = self._timed(point.name, point.steps, clock, count)
        return Drawn({_cost_name(point): images}, [row])

    def guided(self) -> Drawn:
        """As many guided samples, from the noise of `samples`, and the seconds that each took.

        The first of them are the comparison's, where it has the same guidance.
        """
        guidance, clock = self.params.guidance, time.perf_counter()
        method, compared = self._guidance(guidance.epoch, guidance.weight), guidance.compared
        images = checked(self._draw(method, self.params.sampler, self.params.samples)).numpy()
        row = self._timed("guided", self.params.sampler.steps, clock, len(images))
        arrays = {"guided": images}
        if guidance.epoch in compared.epochs and guidance.weight in compared.weights:
            arrays[f"guided_{guidance.epoch}_{guidance.weight}"] = images[: compared.samples]
        return Drawn(arrays, [row])

    def compared(self, epoch: int, weight: float) -> Drawn:
        """Samples by one guide at one weight.

        They are not checked: that too much guidance spoils images is for the comparison to show.
        """
        count = self.params.guidance.compared.samples
        images = to_uint8(self._draw(self._guidance(epoch, weight), self.params.sampler, count)).numpy()
        return Drawn({f"guided_{epoch}_{weight}": images})

    def restored(self, t: int) -> Drawn:
        """Test images noised to t, and what the reverse run makes of them."""
        how, level = self.params.restoration, float(self._alpha_bars[t])
        images, steps = self.dataset.test.images[: how.images], steps_for(t, how.steps)
        with self.place.autocast():
            pair = restore(self.method, images, level, steps, self.seed, self.batch_size, self.place.device)
        return Drawn({f"noised_{t}": pair.noised, f"restored_{t}": pair.restored})

    def strip(self, t: int) -> Drawn:
        """The report's example, a digit of one class, on its way to t and back."""
        levels = report_levels(self._alpha_bars, t, STRIP_STATES)
        steps = steps_for(t, self.params.restoration.steps)
        image, device = self._strip_original, self.place.device
        with self.place.autocast():
            strip = restoration_strip(self.method, image, levels, steps, STRIP_STATES, self.seed, device)
        return Drawn({f"strip_forward_{t}": strip.forward, f"strip_backward_{t}": strip.backward})

    def after_epoch(self, epoch: int, weights: Path) -> Drawn:
        """Samples by the weights of an epoch, which replace those before; all epochs start from the same noise.

        They are not checked: that the first of them show nothing yet is what these sheets are for.
        """
        load_weights(weights, self.method.network)
        return Drawn({f"samples_{epoch}": to_uint8(self._draw(self.method, self.params.sampler, SHOWN)).numpy()})

    def _draw(self, method: Denoising, sampler: Sampler, count: int) -> Tensor:
        shape = tuple(self.dataset.train.images.shape[1:])
        with self.place.autocast():
            return draw_images(
                method, shape, count, sampler.name, sampler.steps, self.seed, self.batch_size, self.place.device
            )

    def _guidance(self, epoch: int, weight: float) -> Autoguidance:
        return Autoguidance(self.method, self.guides[epoch], weight)

    def _timed(self, sampler: str, steps: int, clock: float, count: int) -> dict:
        """The row of timing of so many images that were begun at `clock`."""
        seconds = (time.perf_counter() - clock) / count
        return {"sampler": sampler, "steps": steps, "seconds_per_image": seconds, "threads": self.place.threads}

    @cached_property
    def _alpha_bars(self) -> np.ndarray:
        return alpha_bars(self.params.restoration.schedule)

    @cached_property
    def _strip_original(self) -> np.ndarray:
        """The first test image of the class that the report shows; of any class, where there is none of it."""
        of_class = np.flatnonzero(np.asarray(self.dataset.test.labels) == self.params.restoration.strip_class)
        return np.array(self.dataset.test.images[int(of_class[0]) if len(of_class) else 0])


def _cost_name(point: Sampler) -> str:
    return f"cost_{point.name}_{point.steps}"
