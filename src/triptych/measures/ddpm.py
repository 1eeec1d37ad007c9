"""The DDPM study's numbers, tables and images, from a trained diffusion model, the judge and the dataset."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from triptych.core.files import write_json, write_text
from triptych.core.model_files import load_weights
from triptych.data.batches import to_float, to_uint8
from triptych.data.storage import Dataset
from triptych.ddpm.denoising import DenoisingObjective
from triptych.ddpm.params import CostPoint, DDPMEvaluation, Sampler
from triptych.ddpm.process import Diffusion, schedule_betas
from triptych.measures.bound import PARTS, variational_bound
from triptych.measures.frechet import frechet_distance, frechet_interval
from triptych.measures.judge import Judge, Verdicts
from triptych.measures.manifolds import precision_recall
from triptych.measures.params import EvaluationParams
from triptych.measures.parts import gather
from triptych.measures.sharpness import sharpness
from triptych.measures.similarity import psnr, ssim
from triptych.sampling.degeneracy import clipped_share, spread
from triptych.sampling.restoration import (
    Restored,
    half_time,
    report_levels,
    restoration_strip,
    restore,
    steps_for,
)
from triptych.sampling.samplers import checked, draw_images, evaluations
from triptych.statistics.intervals import generator as bootstrap_generator
from triptych.statistics.intervals import mean_interval, proportion_interval, ratio_interval

SHOWN = 64  # images of a sample sheet
FINAL = 5  # single samples at the end
STRIP_TIMES = (30, 120)  # of the report's figures 35 to 38
STRIP_STATES = 7  # images of a strip
RESTORED_SHOWN = 16  # test images in the figure of restorations over t


@dataclass(frozen=True)
class Settings:
    """How to measure: the pipeline's seed, the study's settings and the shared ones."""

    seed: int
    study: DDPMEvaluation
    shared: EvaluationParams


class DDPMStudy:
    """Measures one diffusion model on the device that holds it. Images stay on the CPU as uint8.

    Args:
        method: the trained model.
        judge: evaluates what it draws.
        dataset: what it was trained on.
        settings: see Settings.
        device: where to compute.
        precision: of the network's calls when it samples; the bound and the judge are always computed in float32.
    """

    def __init__(
        self,
        method: DenoisingObjective,
        judge: Judge,
        dataset: Dataset,
        settings: Settings,
        device: torch.device,
        precision: Callable[[], AbstractContextManager] = nullcontext,
    ) -> None:
        self.method, self.judge, self.dataset = method.eval(), judge, dataset
        self.settings, self.device, self.precision = settings, device, precision
        self.shape = tuple(dataset.train.images.shape[1:])

    def measure(self, metrics: Path, tables: Path) -> None:
        """Writes the metrics file, and `restoration.csv` into the folder of tables."""
        parts = {
            "bound": self._bound,
            "generation": self._generation,
            "sharpness": self._sharpness,
            "manifolds": self._manifolds,
            "health": self._health,
            "restoration": self._restoration,
        }
        numbers, intervals = gather("evaluate_ddpm", parts)
        write_json(metrics, numbers | {"intervals": intervals})
        write_text(tables / "restoration.csv", restoration_table(numbers["restoration"]).to_csv(index=False))

    def draw(self, images: Path, snapshots: Path) -> None:
        """Writes the images of the figures, after each snapshot epoch and at the end, as arrays in one .npz."""
        arrays = {"final_samples": self._samples[:FINAL], "last_samples": self._samples[:SHOWN]}
        arrays["classes"] = np.array(self.dataset.classes)
        arrays["final_probabilities"] = self.judge(arrays["final_samples"]).probabilities
        arrays |= self._strips()
        shown = {t: self._restored[t] for t in self.settings.study.restoration.times}
        arrays["originals"] = np.array(self.dataset.test.images[:RESTORED_SHOWN])
        for t, pair in shown.items():
            arrays[f"noised_{t}"] = pair.noised[:RESTORED_SHOWN]
            arrays[f"restored_{t}"] = pair.restored[:RESTORED_SHOWN]
        arrays |= self._snapshot_samples(snapshots)
        images.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(images, allow_pickle=False, **arrays)

    # The model on many images -----------------------------------------------------------------------------------------

    def _draw(self, sampler: Sampler, count: int, at_once: int | None = None) -> Tensor:
        size, seed = at_once or self.settings.shared.batch_size, self.settings.seed
        with self.precision():
            return draw_images(self.method, self.shape, count, sampler.name, sampler.steps, seed, size, self.device)

    @cached_property
    def _samples(self) -> np.ndarray:
        return checked(self._draw(self.settings.study.sampler, self.settings.study.samples)).numpy()

    @cached_property
    def _drawn(self) -> Verdicts:
        return self.judge(self._samples)

    @cached_property
    def _real(self) -> Verdicts:
        return self.judge(self.dataset.test.images)

    @cached_property
    def _train(self) -> Verdicts:
        """As many training images as there are samples, for the floors that no sampler can beat."""
        return self.judge(self.dataset.train.images[: self.settings.study.samples])

    def _snapshot_samples(self, snapshots: Path) -> dict[str, np.ndarray]:
        """Samples of each snapshot epoch, all from the same noise.

        They are not checked: that the first of them show nothing yet is what these sheets are for.
        """
        network = self.method.network
        final = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        arrays = {}
        for path in sorted(snapshots.glob("epoch_*.safetensors")):
            load_weights(path, network)
            arrays[f"samples_{int(path.stem.split('_')[1])}"] = to_uint8(
                self._draw(self.settings.study.sampler, SHOWN)
            ).numpy()
        network.load_state_dict(final)
        return arrays

    # The measurements -------------------------------------------------------------------------------------------------

    def _bound(self) -> dict:
        """The variational bound in bits per dimension, and its parts."""
        bound = self.settings.study.bound
        images = to_float(torch.from_numpy(np.array(self.dataset.test.images[: bound.images])).to(self.device))
        parts = variational_bound(
            self.method, images, bound.steps, bound.times, self.settings.seed, self.settings.shared.batch_size
        )
        total = sum(parts.values())
        return {
            "vlb_bpd": float(total.mean()),
            "vlb_parts_bpd": {part: float(parts[part].mean()) for part in PARTS},
            "intervals": {"vlb_bpd": self._mean_interval(total, "bound")},
        }

    def _generation(self) -> dict:
        """Fréchet distance and recognisability of samples, with the values of real images beside them."""
        shared = self.settings.shared
        threshold = shared.recognition_threshold
        recognised = self._drawn.recognised(threshold)
        rng = bootstrap_generator(self.settings.seed, "ddpm frechet")
        return {
            "frechet_distance": frechet_distance(self._drawn.features, self._real.features),
            "frechet_floor": frechet_distance(self._train.features, self._real.features),
            "recognisability": float(recognised.mean()),
            "real_recognisability": float(self._real.recognised(threshold).mean()),
            "intervals": {
                "frechet_distance": frechet_interval(
                    self._drawn.features, self._real.features, shared.confidence_level, shared.bootstrap, rng
                ),
                "recognisability": proportion_interval(recognised, shared.confidence_level),
            },
        }

    def _sharpness(self) -> dict:
        """Sharpness of samples over that of real images."""
        shared = self.settings.shared
        drawn, real = sharpness(self._samples), sharpness(np.asarray(self.dataset.test.images))
        rng = bootstrap_generator(self.settings.seed, "ddpm sharpness")
        interval = ratio_interval(drawn, real, shared.confidence_level, shared.bootstrap, rng)
        return {"sharpness_ratio": float(drawn.mean() / real.mean()), "intervals": {"sharpness_ratio": interval}}

    def _manifolds(self) -> dict:
        """Precision and recall of samples, and of training images: the most that could be."""
        k, level = self.settings.study.neighbours, self.settings.shared.confidence_level
        precision, recall = precision_recall(self._drawn.features, self._real.features, k)
        best_precision, best_recall = precision_recall(self._train.features, self._real.features, k)
        return {
            "precision": float(precision.mean()),
            "recall": float(recall.mean()),
            "real_precision": float(best_precision.mean()),
            "real_recall": float(best_recall.mean()),
            "intervals": {
                "precision": proportion_interval(precision, level),
                "recall": proportion_interval(recall, level),
            },
        }

    def _health(self) -> dict:
        """Whether the samples are images at all: values clipped, and how much a median image varies."""
        images = torch.from_numpy(self._samples).float() / 127.5 - 1
        return {
            "clipped_share": clipped_share(images),
            "median_spread": float(spread(images).median()),
            "samples": len(images),
            "intervals": {},
        }

    def _mean_interval(self, values: np.ndarray, purpose: str) -> dict[str, float]:
        shared = self.settings.shared
        rng = bootstrap_generator(self.settings.seed, f"ddpm {purpose}")
        return mean_interval(values, shared.confidence_level, shared.bootstrap, rng)

    # Restoration ------------------------------------------------------------------------------------------------------

    @cached_property
    def _report_alpha_bars(self) -> np.ndarray:
        """alpha_bar of the report's schedule, index t from 0."""
        return Diffusion(schedule_betas(self.settings.study.restoration.schedule)).alpha_bars

    @cached_property
    def _restored(self) -> dict[int, Restored]:
        settings = self.settings.study.restoration
        images = self.dataset.test.images[: settings.images]
        with self.precision():
            return {
                t: restore(
                    self.method,
                    images,
                    float(self._report_alpha_bars[t]),
                    steps_for(t, settings.steps),
                    self.settings.seed,
                    self.settings.shared.batch_size,
                    self.device,
                )
                for t in settings.times
            }

    def _restoration(self) -> dict:
        """Same-class rate by the judge, PSNR and SSIM at each time; and the time at which half have changed class."""
        settings, shared = self.settings.study.restoration, self.settings.shared
        originals = np.array(self.dataset.test.images[: settings.images])
        classes = self._real.classes()[: settings.images]
        rows = []
        for t, pair in self._restored.items():
            same = self.judge(pair.restored).classes() == classes
            values = {
                "same_class": same,
                "psnr": psnr(originals, pair.restored),
                "ssim": ssim(originals, pair.restored),
            }
            intervals = {
                "same_class": proportion_interval(same, shared.confidence_level),
                "psnr": self._mean_interval(values["psnr"], f"psnr {t}"),
                "ssim": self._mean_interval(values["ssim"], f"ssim {t}"),
            }
            means = {name: float(value.mean()) for name, value in values.items()}
            sigma = float((1 - self._report_alpha_bars[t]) ** 0.5)
            noised = {"noised_psnr": float(psnr(originals, pair.noised).mean())}
            rows.append({"t": t, "sigma": sigma, **means, **noised, "intervals": intervals})
        half, reached = half_time(settings.times, [row["same_class"] for row in rows])
        return {"restoration": rows, "half_restored_t": half, "half_restored_reached": reached}

    def _strips(self) -> dict[str, np.ndarray]:
        """The report's example, a digit of one class, on its way to each of its times and back."""
        settings = self.settings.study.restoration
        of_class = np.flatnonzero(np.asarray(self.dataset.test.labels) == settings.strip_class)
        place = int(of_class[0]) if len(of_class) else 0
        arrays = {"strip_original": np.array(self.dataset.test.images[place : place + 1])}
        for t in STRIP_TIMES:
            levels = report_levels(self._report_alpha_bars, t, STRIP_STATES)
            with self.precision():
                strip = restoration_strip(
                    self.method,
                    arrays["strip_original"][0],
                    levels,
                    steps_for(t, settings.steps),
                    STRIP_STATES,
                    self.settings.seed,
                    self.device,
                )
            arrays[f"strip_forward_{t}"], arrays[f"strip_backward_{t}"] = strip.forward, strip.backward
            arrays[f"strip_probabilities_{t}"] = self.judge(strip.backward[-1:]).probabilities
        return arrays

    # Sampling cost ----------------------------------------------------------------------------------------------------

    def price(self, table: Path, timing: Path, machine: dict) -> None:
        """Writes the Fréchet distance of each sampler at each number of steps, and apart from it the seconds it took.

        Args:
            table: CSV of what the samples are worth.
            timing: JSON of the seconds.
            machine: what the seconds depend on.
        """
        points = {f"{point.name} {point.steps}": partial(self._price, point) for point in self.settings.study.cost}
        prices, _ = gather("sampling cost", points)
        columns = ["sampler", "steps", "evaluations", "samples", "frechet_distance", "low", "high", "recognisability"]
        write_text(table, pd.DataFrame([worth for worth, _ in prices.values()], columns=columns).to_csv(index=False))
        write_json(timing, {"sampling": [seconds for _, seconds in prices.values()], **machine})

    def _price(self, point: CostPoint) -> dict[str, tuple[dict, dict]]:
        """What the samples of a point are worth, and the seconds that one took, under the point's name."""
        clock = time.perf_counter()
        # No larger batches than are asked for: the seconds are those of an image, not of noise for a whole batch.
        at_once = min(point.samples, self.settings.shared.batch_size)
        images = checked(self._draw(point, point.samples, at_once)).numpy()
        each = (time.perf_counter() - clock) / point.samples
        label = {"sampler": point.name, "steps": point.steps}
        return {
            f"{point.name} {point.steps}": (label | self._worth(point, images), label | {"seconds_per_image": each})
        }

    def _worth(self, point: CostPoint, images: np.ndarray) -> dict:
        shared, verdicts = self.settings.shared, self.judge(images)
        rng = bootstrap_generator(self.settings.seed, f"ddpm cost {point.name} {point.steps}")
        interval = frechet_interval(
            verdicts.features, self._real.features, shared.confidence_level, shared.bootstrap, rng
        )
        return {
            "evaluations": evaluations(point.name, point.steps),
            "samples": point.samples,
            "frechet_distance": frechet_distance(verdicts.features, self._real.features),
            **interval,
            "recognisability": float(verdicts.recognised(shared.recognition_threshold).mean()),
        }


def restoration_table(rows: list[dict]) -> pd.DataFrame:
    """The metric's rows in long form: t, metric, value, low, high."""
    lines = [
        {"t": row["t"], "metric": name, "value": row[name], **interval}
        for row in rows
        for name, interval in row["intervals"].items()
    ]
    return pd.DataFrame(lines)
