"""What only the diffusion model is asked: the variational bound, guidance, restoration, and what sampling costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import pandas as pd
import torch

from triptych.data.storage import Dataset
from triptych.ddpm.bound import PARTS, variational_bound
from triptych.ddpm.denoising import DenoisingObjective
from triptych.ddpm.restoration_measures import half_time, restoration_at, restoration_table
from triptych.ddpm.samplers import evaluations
from triptych.judge.generated import COMPARED, Numbers, RealImages, measure_generated
from triptych.judge.measure import Judge, Judged
from triptych.machine.processes import merged, run_parts
from triptych.measures.estimate import Estimate, LeftOut
from triptych.measures.intervals import Resampling
from triptych.measures.params import EvaluationParams
from triptych.training.objective import to_float

FINAL = 5  # samples that the report shows one by one
# What is left out of a table is an empty cell.
DISTANCE = ("frechet_distance", "low", "high")
RECOGNISED = ("recognisability", "recognisability_low", "recognisability_high")
COST_COLUMNS = ("sampler", "steps", "evaluations", "samples", *DISTANCE, RECOGNISED[0])
GUIDANCE_COLUMNS = ("epoch", "weight", "samples", *DISTANCE, *RECOGNISED)


@dataclass(frozen=True)
class DDPMMeasures:
    """Measures one diffusion model.

    Attributes:
        method: the trained one, in eval mode on `device`; the bound is computed in float32.
        judge: sees images.
        dataset: what the method was trained on.
        drawn: what was drawn from it, see `triptych.ddpm.sample.draw`.
        settings: how to measure.
        seed: of the noise and the resamples.
        device: where to compute.
        at_once: how many parts are measured side by side, on a CPU.
    """

    method: DenoisingObjective
    judge: Judge
    dataset: Dataset
    drawn: Mapping[str, np.ndarray]
    settings: EvaluationParams
    seed: int
    device: torch.device
    at_once: int = 1

    def numbers(self) -> dict:
        """Every number of the study, estimates where there is an interval."""
        parts = {
            "bound": self._bound,
            "samples": self._samples,
            "guided": self._guided,
            "restoration": self._restoration,
        }
        self._real, self._judged, self._restored  # noqa: B018 - what several parts need is made once, before the copies
        return merged("evaluate_ddpm", parts, self.at_once)

    def restoration(self) -> pd.DataFrame:
        """The similarity of restored images to the originals; see `restoration_table`."""
        return restoration_table(self._restored)

    def sampling(self) -> pd.DataFrame:
        """What samples are worth, one row for each sampler at each number of steps; columns COST_COLUMNS."""
        names = sorted(name for name in self.drawn if name.startswith("cost_"))
        parts = {name.removeprefix("cost_"): lambda name=name: {name: self._cost(name)} for name in names}
        return pd.DataFrame(merged("sampling cost", parts, self.at_once).values(), columns=COST_COLUMNS)

    def guidance(self) -> pd.DataFrame:
        """What guidance is worth, one row for each guide at each weight, 1 being no guidance; GUIDANCE_COLUMNS."""
        drawn: dict[tuple[int, float], np.ndarray] = {}
        for name, images in self.drawn.items():
            if name.startswith("guided_"):
                epoch, weight = name.removeprefix("guided_").split("_")
                drawn.setdefault((int(epoch), 1.0), self.drawn["samples"][: len(images)])
                drawn[int(epoch), float(weight)] = images
        parts = {
            f"guide {epoch}, weight {weight}": partial(self._guidance_at, epoch, weight, images)
            for (epoch, weight), images in sorted(drawn.items())
        }
        return pd.DataFrame(run_parts("guidance", parts, self.at_once).values(), columns=GUIDANCE_COLUMNS)

    def probabilities(self) -> dict[str, np.ndarray]:
        """The judge's, of the first samples and of the ends of the strips; and the names of the classes."""
        ends = {
            name.replace("backward", "probabilities"): self.judge(images[-1:]).probabilities
            for name, images in self.drawn.items()
            if name.startswith("strip_backward_")
        }
        return {
            "final_probabilities": self._judged.probabilities[:FINAL],
            **ends,
            "classes": np.array(self.dataset.classes),
        }

    def _bound(self) -> dict:
        """The variational bound in bits per dimension, and its parts."""
        bound = self.settings.ddpm.bound
        images = to_float(torch.from_numpy(np.array(self.dataset.test.images[: bound.images])).to(self.device))
        parts = variational_bound(self.method, images, bound.steps, bound.times, self.seed, self.settings.batch_size)
        return {
            "vlb_bpd": self._resampling.mean(sum(parts.values())),
            "vlb_parts_bpd": {part: float(parts[part].mean()) for part in PARTS},
        }

    def _samples(self) -> Numbers:
        """What every generative study is asked."""
        return measure_generated(self.drawn["samples"], self._judged, self._real, self.settings, self._resampling)

    def _guided(self) -> dict:
        """What every generative study is asked, of guided samples."""
        images = self.drawn["guided"]
        resampling = replace(self._resampling, owner="ddpm guided")
        found = measure_generated(images, self.judge(images), self._real, self.settings, resampling)
        guidance = {"weight": float(self.drawn["guidance_weight"]), "epoch": int(self.drawn["guidance_epoch"])}
        return {"guided": guidance | {key: found[key] for key in COMPARED}}

    def _restoration(self) -> dict:
        """What is left at each time, and the time at which half of the images have changed class."""
        rows, classless = self._restored, self._real.classless
        if classless:
            return {"restoration": rows, "half_restored_t": classless, "half_restored_reached": classless}
        half, reached = half_time([row["t"] for row in rows], [row["same_class"].value for row in rows])
        return {"restoration": rows, "half_restored_t": half, "half_restored_reached": reached}

    @cached_property
    def _restored(self) -> list[dict]:
        times, sigmas = (self.drawn[f"restoration_{name}"].tolist() for name in ("times", "sigmas"))
        count = len(self.drawn[f"restored_{times[0]}"])
        originals = self._real.images[:count]
        classes = self._real.classless or self._real.test.classes()[:count]
        parts = {
            f"t = {t}": partial(
                restoration_at,
                t,
                sigma,
                originals,
                classes,
                self.drawn[f"noised_{t}"],
                self.drawn[f"restored_{t}"],
                self.judge,
                self._resampling,
            )
            for t, sigma in zip(times, sigmas, strict=True)
        }
        return list(run_parts("restoration", parts, self.at_once).values())

    def _cost(self, name: str) -> dict:
        """The row of samples `cost_<sampler>_<steps>`."""
        sampler, steps = name.removeprefix("cost_").rsplit("_", 1)
        judged = self.judge(self.drawn[name])
        return {
            "sampler": sampler,
            "steps": int(steps),
            "evaluations": evaluations(sampler, self.method.levels(int(steps))),
            "samples": len(self.drawn[name]),
            **cells(DISTANCE, self._real.distance(judged, self._resampling, f"cost {sampler} {steps}")),
            **cells(RECOGNISED[:1], self._recognised(judged)),
        }

    def _guidance_at(self, epoch: int, weight: float, images: np.ndarray) -> dict:
        """The row of the samples of one guide at one weight."""
        judged = self.judge(images)
        # Without guidance, the guide makes no difference: neither to the number nor to its interval.
        purpose = f"guidance {epoch} {weight}" if weight > 1 else "guidance none"
        return {
            "epoch": epoch,
            "weight": weight,
            "samples": len(images),
            **cells(DISTANCE, self._real.distance(judged, self._resampling, purpose)),
            **cells(RECOGNISED, self._recognised(judged)),
        }

    def _recognised(self, judged: Judged) -> Estimate | LeftOut:
        """The share of images in which the judge is sure of a class."""
        how = self.settings
        return self._real.classless or self._resampling.proportion(judged.recognised(how.recognition_threshold))

    @cached_property
    def _judged(self) -> Judged:
        return self.judge(self.drawn["samples"])

    @cached_property
    def _real(self) -> RealImages:
        return RealImages(self.dataset, self.judge, len(self.drawn["samples"]))

    @cached_property
    def _resampling(self) -> Resampling:
        return Resampling(self.seed, self.settings.confidence_level, self.settings.bootstrap, "ddpm")


def cells(columns: Sequence[str], found: Estimate | LeftOut) -> dict[str, float]:
    """A number and its bounds under the names of columns, as many as are named; nothing where it is left out."""
    if isinstance(found, LeftOut):
        return {}
    return dict(zip(columns, (found.value, found.low, found.high), strict=False))
