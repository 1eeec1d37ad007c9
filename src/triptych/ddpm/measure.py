"""Measures of the diffusion model: variational bound, sample quality, guidance, restoration, and cost of sampling."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from triptych.ddpm.objective import Denoising, add_noise, posterior_variance
from triptych.ddpm.samplers import evaluations
from triptych.judge.generated import GenerativeMeasures
from triptych.judge.measure import Judge
from triptych.machine.tasks import merged_results, run_tasks
from triptych.measures import needs
from triptych.measures.discretised import bits_per_dimension, discretised_gaussian_log_mass
from triptych.measures.estimate import Estimate, LeftOut
from triptych.measures.images import ImageNoise, float_batches, in_float64
from triptych.measures.intervals import Resampling
from triptych.measures.similarity import psnr, ssim

Row = dict[str, float | Estimate | LeftOut]
DISTANCE = ("frechet_distance", "low", "high")
RECOGNISED = ("recognisability", "recognisability_low", "recognisability_high")
COST_COLUMNS = ("sampler", "steps", "evaluations", "samples", *DISTANCE, "recognisability")
GUIDANCE_COLUMNS = ("epoch", "weight", "samples", *DISTANCE, *RECOGNISED)


# --- The variational bound on 8-bit images (Ho et al. 2020, equation 5), in bits per dimension ---


def prior_term(x0: Tensor, alpha_bar: float) -> Tensor:
    """Return KL(q(x_T | x0) || N(0, I)) in nats for each image in x0, where x_T has the noise level `alpha_bar`."""
    variance = 1 - alpha_bar
    squares = alpha_bar * in_float64(x0).square().flatten(1).sum(dim=1)
    return 0.5 * (squares + x0[0].numel() * (variance - 1 - np.log(variance)))


def diffusion_term(x0: Tensor, predicted: Tensor, alpha_bar: np.ndarray, next_alpha_bar: np.ndarray) -> Tensor:
    """Return KL(q(x' | x, x0) || q(x' | x, predicted)) in nats for each of N images x0 (N, C, H, W).

    `alpha_bar` (N,) and `next_alpha_bar` (N,) are the noise levels of x and of the less noisy x'. `predicted` is the
    prediction of x0 from x. The divergence is half the increase in the signal-to-noise ratio from x to x', multiplied
    by the squared error of `predicted` (Kingma et al. 2021, arXiv:2107.00630, equation 13).
    """
    gain = next_alpha_bar / (1 - next_alpha_bar) - alpha_bar / (1 - alpha_bar)
    errors = in_float64(x0 - predicted).square().flatten(1).sum(dim=1)
    return 0.5 * torch.as_tensor(gain, device=errors.device) * errors


def strata(first: int, last: int, count: int) -> list[tuple[int, int]]:
    """Return at most `count` ranges [low, high) of geometrically growing length that cover times `first` to `last`."""
    bounds = np.geomspace(first, last + 1, count + 1).round().astype(int)
    # An empty range is extended to one integer.
    bounds = np.maximum(bounds, first + np.arange(count + 1)).clip(max=last + 1)
    return [(low, high) for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True) if low < high]


@torch.inference_mode()
def variational_bound(
    method: Denoising, images: Tensor, steps: int, times: int, seed: int, batch_size: int
) -> dict[str, np.ndarray]:
    """Return the three terms of an upper bound on -log p(x0) for each of N images x0 with values in [-1, 1].

    The terms `prior`, `diffusion` and `decoder` are arrays of shape (N,) in bits per dimension. The bound is their sum.
    The diffusion term is a sum over the times t = 2 to `steps`. These are split into at most `times` ranges, and the
    sum is estimated without bias from one random t in each range. `method` must be in eval mode.
    """
    # alpha_bar at each time t; t = 0 is the image itself.
    chain = np.array(method.levels(steps)[::-1])
    variance = posterior_variance(chain[2], chain[1])
    nats: dict[str, list[Tensor]] = {"prior": [], "diffusion": [], "decoder": []}
    for start in range(0, len(images), batch_size):
        x0 = images[start : start + batch_size]
        rows = range(start, start + len(x0))
        noise = ImageNoise(seed, "bound", rows, tuple(x0.shape[1:]), x0.device).normal
        nats["prior"].append(prior_term(x0, chain[-1]))
        terms, draw = [], ImageNoise(seed, "bound times", rows, (), "cpu")
        for low, high in strata(2, steps, times):
            t = draw.integers(low, high).numpy()
            predicted = method.denoise(add_noise(x0, chain[t], noise()), chain[t]).clamp(-1, 1)
            terms.append((high - low) * diffusion_term(x0, predicted, chain[t], chain[t - 1]))
        nats["diffusion"].append(torch.stack(terms).sum(dim=0))
        mean = method.denoise(add_noise(x0, chain[1], noise()), chain[1]).clamp(-1, 1)
        nats["decoder"].append(
            -in_float64(discretised_gaussian_log_mass(x0, mean, variance**0.5)).flatten(1).sum(dim=1)
        )
    dimensions = images[0].numel()
    return {
        term: bits_per_dimension(-torch.cat(values), dimensions, density=False).cpu().numpy()
        for term, values in nats.items()
    }


# --- Restoration ---


def restoration_at(
    t: int,
    sigma: float,
    originals: np.ndarray,
    classes: np.ndarray | LeftOut,
    noised: np.ndarray,
    restored: np.ndarray,
    judge: Judge,
    resampling: Resampling,
) -> Row:
    """Return a row with the PSNR in dB and the SSIM of `restored`, and the fraction of images that keep their class.

    Image arrays are uint8 of shape (N, C, H, W). `noised` are the originals at time t, with noise of standard deviation
    `sigma`. `classes`, of shape (N,), are the classes that the judge, a reference classifier, assigns to the originals.
    If `classes` is a `LeftOut`, it replaces the fraction. `same_class_by_chance` and `ssim_by_chance` compare each
    restored image with the next original.
    """
    judged = judge(restored).classes()
    classless, few = classes if isinstance(classes, LeftOut) else None, needs.images(len(originals), 2)
    return {
        "t": t,
        "sigma": sigma,
        "same_class": classless or resampling.proportion(judged == classes),
        "same_class_by_chance": classless or float(np.mean(judged == np.roll(classes, -1))),
        "psnr": few or resampling.mean(psnr(originals, restored)),
        "ssim": few or resampling.mean(ssim(originals, restored)),
        "ssim_by_chance": few or float(ssim(np.roll(originals, -1, axis=0), restored).mean()),
        "noised_psnr": float(psnr(originals, noised).mean()),
    }


def half_time(times: Sequence[int], same_class: Sequence[float]) -> tuple[float, bool]:
    """Return the noise time at which half of the restored images have changed class, and True.

    `same_class` contains the fraction of images that keep their class at each of `times`. The fraction is assumed to be
    1 at time 0, and is interpolated linearly between times. If it never falls to one half, return the last time and
    False.
    """
    grid, shares = [0, *times], [1.0, *same_class]
    for i in range(1, len(grid)):
        if shares[i] <= 0.5:
            return float(np.interp(0.5, shares[i - 1 : i + 1][::-1], grid[i - 1 : i + 1][::-1])), True
    return float(times[-1]), False


def restoration_table(rows: Sequence[Row]) -> pd.DataFrame:
    """Return all `Estimate` objects in `rows` as a table with the columns `t`, `metric`, `value`, `low` and `high`."""
    return pd.DataFrame(
        {"t": row["t"], "metric": name, "value": entry.value, **entry.interval}
        for row in rows
        for name, entry in row.items()
        if isinstance(entry, Estimate)
    )


# --- The study ---


@dataclass(kw_only=True)
class DDPMMeasures(GenerativeMeasures):
    """Measures of the diffusion model `method`. The model must be in eval mode."""

    STUDY = "ddpm"
    method: Denoising

    def numbers(self) -> dict:
        """Return all metrics of the diffusion model. Metrics with a confidence interval are `Estimate` objects."""
        tasks = {"bound": self._bound, "samples": self.samples, "guided": self._guided}
        return merged_results("evaluate_ddpm", tasks, self.at_once) | self._restoration()

    def sampling(self) -> pd.DataFrame:
        """Return the sample quality for each sampler and number of steps, as a table with the columns COST_COLUMNS."""
        columns = self.drawn["cost_sampler"].tolist(), self.drawn["cost_steps"].tolist(), self.drawn["cost"]
        points = sorted(zip(*columns, strict=True), key=lambda point: point[:2])
        tasks = {}
        for name, steps, images in points:
            point = {"sampler": name, "steps": steps, "evaluations": evaluations(name, self.method.levels(steps))}
            tasks[f"{name} {steps}"] = partial(self._quality, point, images, f"cost {name} {steps}")
        return pd.DataFrame(run_tasks("sampling cost", tasks, self.at_once).values(), columns=COST_COLUMNS)

    def guidance(self) -> pd.DataFrame:
        """Return the sample quality for each guide and guidance weight, as a table with the columns GUIDANCE_COLUMNS.

        A guide is a snapshot of the model from an earlier epoch. Weight 1 means no guidance.
        """
        epochs, weights = (self.drawn[f"compared_{name}"].tolist() for name in ("epoch", "weight"))
        points = dict(zip(zip(epochs, weights, strict=True), self.drawn["compared"], strict=True))
        unguided = self.drawn["samples"][: self.drawn["compared"].shape[1]]
        points |= {(epoch, 1.0): unguided for epoch in epochs}
        tasks = {}
        for (epoch, weight), images in sorted(points.items(), key=lambda point: point[0]):
            # Samples without guidance have the same interval for every guide.
            purpose = f"guidance {epoch} {weight}" if weight > 1 else "guidance none"
            point = {"epoch": epoch, "weight": weight}
            tasks[f"guide {epoch}, weight {weight}"] = partial(self._quality, point, images, purpose)
        return pd.DataFrame(run_tasks("guidance", tasks, self.at_once).values(), columns=GUIDANCE_COLUMNS)

    def probabilities(self) -> dict[str, np.ndarray]:
        """Return the class probabilities that the judge, a reference classifier, assigns to some generated images.

        These are the first samples, and the restored image of each strip. A strip shows the states of one test image
        that is noised up to a certain time and then restored. The result also contains these times and the class names.
        """
        return {
            "final_probabilities": self.final_probabilities(),
            "strip_probabilities": self.judge(self.drawn["strip_backward"][:, -1]).probabilities,
            "strip_times": self.drawn["strip_times"],
            "classes": np.array(self.dataset.classes),
        }

    def _bound(self) -> dict:
        bound, size = self.settings.ddpm.bound, self.settings.batch_size
        images = torch.cat(list(float_batches(self.dataset.test.images[: bound.images], size, self.device)))
        terms = variational_bound(self.method, images, bound.steps, bound.times, self.seed, size)
        return {
            "vlb_bpd": self.resampling.mean(sum(terms.values())),
            "vlb_parts_bpd": {term: float(bits.mean()) for term, bits in terms.items()},
        }

    def _guided(self) -> dict:
        guidance = {name: self.drawn[f"guidance_{name}"].item() for name in ("weight", "epoch")}
        return {"guided": guidance | self.other_samples("guided", "guided")}

    def _restoration(self) -> dict:
        originals, classless = self.real.images[: self.drawn["restored"].shape[1]], self.real.classless
        classes = classless or self.real.test.classes()[: len(originals)]
        times, sigmas = (self.drawn[f"restoration_{name}"].tolist() for name in ("times", "sigmas"))
        images = self.drawn["noised"], self.drawn["restored"]
        tasks = {
            f"t = {t}": partial(restoration_at, t, sigma, originals, classes, *pair, self.judge, self.resampling)
            for t, sigma, *pair in zip(times, sigmas, *images, strict=True)
        }
        rows = list(run_tasks("restoration", tasks, self.at_once).values())
        half, reached = classless, classless
        if not classless:
            shares = [row["same_class"] for row in rows]
            value, reached = half_time(times, [share.value for share in shares])
            bounds = [[share.low for share in shares], [share.high for share in shares]]
            half = Estimate(value, *(half_time(times, bound)[0] for bound in bounds))
        return {"restoration": rows, "half_restored_t": half, "half_restored_reached": reached}

    def _quality(self, point: dict, images: np.ndarray, purpose: str) -> dict:
        judged = self.judge(images)
        recognised = judged.recognised(self.settings.recognition_threshold)
        measured = (
            (DISTANCE, self.real.distance(judged, self.resampling, purpose)),
            (RECOGNISED, self.real.classless or self.resampling.proportion(recognised)),
        )
        row = point | {"samples": len(images)}
        for columns, number in measured:
            if isinstance(number, Estimate):
                row |= zip(columns, (number.value, number.low, number.high), strict=True)
        return row
