"""Measures of the diffusion model: variational bound, samples, guidance, restoration, and cost of sampling."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from triptych.data.storage import Dataset
from triptych.ddpm.objective import DenoisingObjective, add_noise, posterior_variance
from triptych.ddpm.samplers import evaluations
from triptych.judge.generated import COMPARED, Numbers, RealImages, measure_generated
from triptych.judge.measure import Judge, Judged
from triptych.machine.randomness import ImageNoise
from triptych.machine.tasks import merged_results, run_tasks
from triptych.measures import needs
from triptych.measures.discretised import bits_per_dimension, discretised_gaussian_log_mass
from triptych.measures.estimate import Estimate, LeftOut
from triptych.measures.intervals import Resampling
from triptych.measures.params import EvaluationParams
from triptych.measures.similarity import psnr, ssim
from triptych.training.objective import float_batches

Row = dict[str, float | Estimate | LeftOut]
FINAL = 5  # samples that the report shows one by one
DISTANCE = ("frechet_distance", "low", "high")
RECOGNISED = ("recognisability", "recognisability_low", "recognisability_high")
COST_COLUMNS = ("sampler", "steps", "evaluations", "samples", *DISTANCE, RECOGNISED[0])
GUIDANCE_COLUMNS = ("epoch", "weight", "samples", *DISTANCE, *RECOGNISED)


# --- The variational bound on 8-bit images (Ho et al. 2020, equation 5), in bits per dimension ---


def prior_term(x0: Tensor, alpha_bar: float) -> Tensor:
    """L_T = KL(q(x_T | x0) || N(0, I)) per image, in nats."""
    variance = 1 - alpha_bar
    squares = alpha_bar * x0.double().square().flatten(1).sum(dim=1)
    return 0.5 * (squares + x0[0].numel() * (variance - 1 - np.log(variance)))


def diffusion_term(x0: Tensor, predicted: Tensor, alpha_bar: np.ndarray, next_alpha_bar: np.ndarray) -> Tensor:
    """KL(q(x' | x, x0) || p(x' | x)) per image, in nats, where p is q with x0 replaced by its prediction.

    Both are Gaussians of variance beta-tilde, and the KL is half the gain in signal-to-noise times the squared error
    of x0 (Kingma et al. 2021, arXiv:2107.00630, equation 13).
    """
    gain = next_alpha_bar / (1 - next_alpha_bar) - alpha_bar / (1 - alpha_bar)
    errors = (x0 - predicted).double().square().flatten(1).sum(dim=1)
    return 0.5 * torch.as_tensor(gain, device=errors.device) * errors


def strata(first: int, last: int, count: int) -> list[tuple[int, int]]:
    """Split the integers from `first` to `last` into at most `count` ranges [low, high) that grow geometrically.

    The terms of the bound are largest, and differ most, at small t.
    """
    bounds = np.geomspace(first, last + 1, count + 1).round().astype(int)
    # A geometric range that would hold no integer gets one.
    bounds = np.maximum(bounds, first + np.arange(count + 1)).clip(max=last + 1)
    return [(low, high) for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True) if low < high]


def drawn_times(steps: int, times: int, rows: range, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield for each of the `strata` of t = 2 to T its length, and one t from it for each of the images `rows`."""
    draw = ImageNoise(seed, "bound times", rows, (), "cpu")
    for low, high in strata(2, steps, times):
        yield high - low, draw.integers(low, high).numpy()


@torch.inference_mode()
def variational_bound(
    method: DenoisingObjective, images: Tensor, steps: int, times: int, seed: int, batch_size: int
) -> dict[str, np.ndarray]:
    """Upper bound on -log p(x0) per image, split into three terms whose sum is the bound.

    The sum over t = 2 to T is estimated without bias: t is drawn once from each of `times` ranges of the chain. The
    reverse variance is beta-tilde; the decoder at t = 1 takes beta-tilde of t = 2, as its own is zero.

    Args:
        method: in eval mode on the device of the images.
        images: (N, C, H, W) float in [-1, 1].
        steps: T, the length of the chain.
        times: number of terms drawn per image.
        seed: of the noise and the times.
        batch_size: images per batch.

    Returns:
        prior, diffusion and decoder: (N,) bits per dimension each.
    """
    # Index t of the chain, t = 0 being the image itself.
    chain = np.array(method.levels(steps)[::-1])
    variance = posterior_variance(chain[2], chain[1])
    nats: dict[str, list[Tensor]] = {"prior": [], "diffusion": [], "decoder": []}
    for start in range(0, len(images), batch_size):
        x0 = images[start : start + batch_size]
        rows = range(start, start + len(x0))
        noise = ImageNoise(seed, "bound", rows, tuple(x0.shape[1:]), x0.device).normal
        nats["prior"].append(prior_term(x0, chain[-1]))
        terms = []
        for length, t in drawn_times(steps, times, rows, seed):
            predicted = method.denoise(add_noise(x0, chain[t], noise()), chain[t]).clamp(-1, 1)
            terms.append(length * diffusion_term(x0, predicted, chain[t], chain[t - 1]))
        nats["diffusion"].append(torch.stack(terms).sum(dim=0))
        mean = method.denoise(add_noise(x0, chain[1], noise()), chain[1]).clamp(-1, 1)
        nats["decoder"].append(-discretised_gaussian_log_mass(x0, mean, variance**0.5).double().flatten(1).sum(dim=1))
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
    """Measure restored images: share that keeps its class, PSNR in dB and SSIM.

    Args:
        t: time to which the originals were noised.
        sigma: standard deviation of the noise at t.
        originals, noised, restored: uint8 (N, C, H, W).
        classes: (N,) classes that the judge reads in the originals, or the reason why it reads none.
        judge: reads the restored images.
        resampling: makes the intervals.
    """
    classless, few = classes if isinstance(classes, LeftOut) else None, needs.images(len(originals), 2)
    return {
        "t": t,
        "sigma": sigma,
        "same_class": classless or resampling.proportion(judge(restored).classes() == classes),
        "psnr": few or resampling.mean(psnr(originals, restored)),
        "ssim": few or resampling.mean(ssim(originals, restored)),
        "noised_psnr": float(psnr(originals, noised).mean()),
    }


def half_time(times: Sequence[int], same_class: Sequence[float]) -> tuple[float, bool]:
    """Time at which half of the images have changed class, interpolated linearly; no image has changed at time 0.

    Returns:
        That time and True, or the last time and False if fewer changed.
    """
    grid, shares = [0, *times], [1.0, *same_class]
    for i in range(1, len(grid)):
        if shares[i] <= 0.5:
            return float(np.interp(0.5, shares[i - 1 : i + 1][::-1], grid[i - 1 : i + 1][::-1])), True
    return float(times[-1]), False


def restoration_table(rows: Sequence[Row]) -> pd.DataFrame:
    """Estimates of `restoration_at` in long form: t, metric, value, low, high."""
    lines = [
        {"t": row["t"], "metric": name, "value": entry.value, **entry.interval}
        for row in rows
        for name, entry in row.items()
        if isinstance(entry, Estimate)
    ]
    return pd.DataFrame(lines)


# --- The study ---


class DDPMMeasures:
    """Measures of one diffusion model.

    Args:
        method: in eval mode on `device`; the bound is computed in float32.
        judge: reads images.
        dataset: training data of the method.
        drawn: arrays that `triptych.ddpm.sample.draw` wrote.
        settings: section `evaluation`.
        seed: of the noise and the resamples.
        device: where to compute.
        at_once: number of tasks to run side by side, on a CPU.
    """

    def __init__(
        self,
        method: DenoisingObjective,
        judge: Judge,
        dataset: Dataset,
        drawn: Mapping[str, np.ndarray],
        settings: EvaluationParams,
        seed: int,
        device: torch.device,
        at_once: int = 1,
    ) -> None:
        self.method, self.judge, self.dataset, self.drawn = method, judge, dataset, drawn
        self.settings, self.seed, self.device, self.at_once = settings, seed, device, at_once
        self.resampling = Resampling(seed, settings.confidence_level, settings.bootstrap, "ddpm")
        # Several tasks use these: they are computed before tasks fork.
        self.real = RealImages(dataset, judge, len(drawn["samples"]))
        self.judged = judge(drawn["samples"])

    def numbers(self) -> dict:
        """Every number of the study, as estimates where there is an interval."""
        tasks = {"bound": self._bound, "samples": self._samples, "guided": self._guided}
        return merged_results("evaluate_ddpm", tasks, self.at_once) | self._restoration()

    def sampling(self) -> pd.DataFrame:
        """Quality of the samples of each sampler at each number of steps, with COST_COLUMNS."""
        columns = self.drawn["cost_sampler"].tolist(), self.drawn["cost_steps"].tolist(), self.drawn["cost"]
        points = sorted(zip(*columns, strict=True), key=lambda point: point[:2])
        tasks = {f"{sampler} {steps}": partial(self._cost, sampler, steps, images) for sampler, steps, images in points}
        return pd.DataFrame(run_tasks("sampling cost", tasks, self.at_once).values(), columns=COST_COLUMNS)

    def guidance(self) -> pd.DataFrame:
        """Quality of the samples of each guide at each weight, 1 being no guidance, with GUIDANCE_COLUMNS."""
        epochs, weights = (self.drawn[f"compared_{name}"].tolist() for name in ("epoch", "weight"))
        points = dict(zip(zip(epochs, weights, strict=True), self.drawn["compared"], strict=True))
        unguided = self.drawn["samples"][: self.drawn["compared"].shape[1]]
        points |= {(epoch, 1.0): unguided for epoch in epochs}
        tasks = {
            f"guide {epoch}, weight {weight}": partial(self._guidance_at, epoch, weight, images)
            for (epoch, weight), images in sorted(points.items(), key=lambda point: point[0])
        }
        return pd.DataFrame(run_tasks("guidance", tasks, self.at_once).values(), columns=GUIDANCE_COLUMNS)

    def probabilities(self) -> dict[str, np.ndarray]:
        """The judge's probabilities of the first samples and of the end of each strip, and the names of the classes."""
        return {
            "final_probabilities": self.judged.probabilities[:FINAL],
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

    def _samples(self) -> Numbers:
        return measure_generated(self.drawn["samples"], self.judged, self.real, self.settings, self.resampling)

    def _guided(self) -> dict:
        images = self.drawn["guided"]
        resampling = replace(self.resampling, owner="ddpm guided")
        numbers = measure_generated(images, self.judge(images), self.real, self.settings, resampling)
        guidance = {"weight": self.drawn["guidance_weight"].item(), "epoch": self.drawn["guidance_epoch"].item()}
        return {"guided": guidance | {key: numbers[key] for key in COMPARED}}

    def _restoration(self) -> dict:
        """Measure restorations from each time, and the time at which half of the images have changed class."""
        originals, classless = self.real.images[: self.drawn["restored"].shape[1]], self.real.classless
        classes = classless or self.real.test.classes()[: len(originals)]
        times, sigmas = (self.drawn[f"restoration_{name}"].tolist() for name in ("times", "sigmas"))
        tasks = {
            f"t = {t}": partial(
                restoration_at, t, sigma, originals, classes, noised, restored, self.judge, self.resampling
            )
            for t, sigma, noised, restored in zip(
                times, sigmas, self.drawn["noised"], self.drawn["restored"], strict=True
            )
        }
        rows = list(run_tasks("restoration", tasks, self.at_once).values())
        half, reached = classless, classless
        if not classless:
            half, reached = half_time(times, [row["same_class"].value for row in rows])
        return {"restoration": rows, "half_restored_t": half, "half_restored_reached": reached}

    def _cost(self, sampler: str, steps: int, images: np.ndarray) -> dict:
        judged = self.judge(images)
        return {
            "sampler": sampler,
            "steps": steps,
            "evaluations": evaluations(sampler, self.method.levels(steps)),
            "samples": len(images),
            **cells(DISTANCE, self.real.distance(judged, self.resampling, f"cost {sampler} {steps}")),
            **cells(RECOGNISED[:1], self._recognised(judged)),
        }

    def _guidance_at(self, epoch: int, weight: float, images: np.ndarray) -> dict:
        judged = self.judge(images)
        # Without guidance, the guide changes neither the number nor its interval.
        purpose = f"guidance {epoch} {weight}" if weight > 1 else "guidance none"
        return {
            "epoch": epoch,
            "weight": weight,
            "samples": len(images),
            **cells(DISTANCE, self.real.distance(judged, self.resampling, purpose)),
            **cells(RECOGNISED, self._recognised(judged)),
        }

    def _recognised(self, judged: Judged) -> Estimate | LeftOut:
        return self.real.classless or self.resampling.proportion(judged.recognised(self.settings.recognition_threshold))


def cells(columns: Sequence[str], number: Estimate | LeftOut) -> dict[str, float]:
    """A number and its bounds under the given column names; no cells if it is left out."""
    if isinstance(number, LeftOut):
        return {}
    return dict(zip(columns, (number.value, number.low, number.high), strict=False))
