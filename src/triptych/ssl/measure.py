"""The numbers of one variant of the third study, over its seeds, from its encoders' weights and the dataset."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from triptych.data.storage import Dataset
from triptych.machine.processes import run_parts
from triptych.machine.randomness import Draw
from triptych.measures import needs
from triptych.measures.accuracy import accuracies, accuracy_key
from triptych.measures.estimate import LeftOut
from triptych.measures.intervals import Resampling
from triptych.measures.params import EvaluationParams
from triptych.nn.weights import load_model, seed_folder, snapshot_files
from triptych.ssl.collapse import Collapse, alignment, collapse_of, effective_rank, embedding_std, uniformity
from triptych.ssl.course import collapsed_since, course
from triptych.ssl.representation import Encoded, knn_correct, linear_correct
from triptych.ssl.shared.network import SiameseNetwork
from triptych.ssl.shared.views import Views
from triptych.training.objective import to_float, to_uint8

SHOWN, VIEWS = 4, 11  # training images of the sheet of views, and views of each
# What several numbers need alike.
ACCURACIES = ("knn_accuracy", "linear_accuracy")
SPREAD = ("embedding_std", "effective_rank", "uniformity")
COLLAPSED = ("collapsed", "collapsed_since_epoch", "collapse_kind", "collapse_reason")


@dataclass(frozen=True)
class SeedMeasured:
    """What one seed's training came to.

    Attributes:
        seed: see above.
        numbers: of its trained encoder.
        hits: by name, (N,) whether each test image was classified correctly; empty without two classes.
        course: the rows of its kept epochs, see `course`.
    """

    seed: int
    numbers: dict[str, float]
    hits: dict[str, np.ndarray]
    course: list[dict[str, float]]


@dataclass(frozen=True)
class SSLMeasures:
    """Measures one variant, in float32.

    Attributes:
        name: of the variant.
        dataset: its images.
        views: its augmentation.
        settings: how to measure.
        seed: the pipeline's; the first of the variant's seeds.
        seeds: how many there are.
        baselines: see `measure_baselines`, of its encoder.
        device: where to compute.
        at_once: how many seeds are measured side by side, on a CPU.
    """

    name: str
    dataset: Dataset
    views: Views
    settings: EvaluationParams
    seed: int
    seeds: int
    baselines: Mapping[str, np.ndarray]
    device: torch.device
    at_once: int = 1

    def measure(self, models: Path, snapshots: Path, history: pd.DataFrame) -> list[SeedMeasured]:
        """Every seed's own numbers.

        Args:
            models: folder of the variant's models.
            snapshots: folder of the weights of its kept epochs.
            history: its training table, with columns seed, epoch, loss.

        Raises:
            InputError: weights are missing, damaged, or of another architecture.
        """
        parts = {
            f"seed {seed}": partial(
                self._one_seed,
                seed,
                models if seed == self.seed else seed_folder(models, seed),
                seed_folder(snapshots, seed),
                history[history["seed"] == seed].sort_values("epoch")["loss"],
            )
            for seed in range(self.seed, self.seed + self.seeds)
        }
        return list(run_parts(f"evaluate_ssl@{self.name}", parts, self.at_once).values())

    # One seed ---------------------------------------------------------------------------------------------------------

    def _one_seed(self, seed: int, model: Path, snapshots: Path, losses: pd.Series) -> SeedMeasured:
        network, _ = load_model(model, SiameseNetwork, self.device)
        kept, how = snapshot_files(snapshots), self.settings
        # The last of the kept epochs is the model itself.
        rows, train, test = course(network, kept, self.dataset, how.ssl.knn, self.device, how.batch_size)
        first, second = (self._embed_views(network, seed, number) for number in (1, 2))
        measures = {
            "embedding_std": partial(embedding_std, test.projector),
            "effective_rank": partial(effective_rank, test.projector),
            "alignment": partial(alignment, first, second),
            "uniformity": partial(uniformity, test.projector[: self.settings.ssl.pairs]),
        }
        numbers = {key: measure() for key, measure in measures.items() if key not in self.left_out}
        hits = self._hits(train, test) | self._baselines(seed) if train else {}
        numbers |= {accuracy_key(key): float(correct.mean()) for key, correct in hits.items()}
        numbers["final_loss"] = float(losses.iloc[-1])
        return SeedMeasured(seed, numbers, hits, rows)

    def _baselines(self, seed: int) -> dict[str, np.ndarray]:
        return {key: rows[0 if len(rows) == 1 else seed - self.seed] for key, rows in self.baselines.items()}

    def _hits(self, train: Encoded, test: Encoded) -> dict[str, np.ndarray]:
        """Which test images get their label, by nearest neighbours and by the linear probe of backbone features."""
        how = self.settings.ssl
        by = how.knn.features
        return {
            "knn_correct": knn_correct(train.features(by), test.features(by), self.dataset, how.knn),
            "linear_correct": linear_correct(train.backbone, test.backbone, self.dataset, how.probe_penalty),
        }

    @torch.inference_mode()
    def _embed_views(self, network: SiameseNetwork, seed: int, number: int) -> Tensor:
        """Embeddings of one view of each of the first test images."""
        draw = Draw(self.device, (seed, "alignment", number))
        images = torch.from_numpy(np.array(self.dataset.test.images[: self.settings.ssl.pairs])).to(self.device)
        parts = images.split(self.settings.batch_size)
        return torch.cat([network(self.views(to_float(part), draw))[0].float() for part in parts])

    # All seeds --------------------------------------------------------------------------------------------------------

    def summary(self, runs: Sequence[SeedMeasured]) -> dict:
        """Means over seeds, intervals over images and seeds, whether they collapsed, and each seed's own numbers."""
        means = {key: float(np.mean([run.numbers[key] for run in runs])) for key in runs[0].numbers}
        return {
            **means,
            **accuracies(self._all_hits(runs), self._resampling),
            **self._collapse(means, runs),
            **self.left_out,
            "seeds": [{"seed": run.seed, **run.numbers, **self._collapsed(run.numbers)} for run in runs],
        }

    @cached_property
    def left_out(self) -> dict[str, LeftOut]:
        """The numbers that the dataset cannot give, each with the reason."""
        count, least_rank = len(self.dataset.test.images), self.settings.ssl.collapse.effective_rank
        wanted = {
            ACCURACIES: needs.two_classes(self.dataset),
            SPREAD: needs.images(count, 2),
            # The rank of N embeddings is N at most: of too few, it is below its threshold whatever they are.
            COLLAPSED: needs.images(count, math.floor(least_rank) + 1, f"test images to tell a rank of {least_rank:g}"),
        }
        return {key: reason for keys, reason in wanted.items() if reason for key in keys}

    def _collapse(self, means: Mapping[str, float], runs: Sequence[SeedMeasured]) -> dict[str, object]:
        """Whether the mean of all seeds is a collapse, since when, of which kind and why; nothing where left out."""
        if "collapsed" in self.left_out:
            return {}
        overall = self._collapse_of(means)
        since = collapsed_since(self.course(runs), self.settings.ssl.collapse) if overall.collapsed else None
        return dict(zip(COLLAPSED, (overall.collapsed, since, overall.kind, overall.reason), strict=True))

    def _collapsed(self, numbers: Mapping[str, float]) -> dict[str, bool]:
        """Whether one seed's numbers are a collapse; nothing where left out."""
        return {} if "collapsed" in self.left_out else {"collapsed": self._collapse_of(numbers).collapsed}

    def _collapse_of(self, numbers: Mapping[str, float]) -> Collapse:
        limits = self.settings.ssl.collapse
        return collapse_of(
            numbers["embedding_std"],
            numbers["effective_rank"],
            std_threshold=limits.embedding_std,
            rank_threshold=limits.effective_rank,
        )

    def course(self, runs: Sequence[SeedMeasured]) -> pd.DataFrame:
        """The rows of every seed's kept epochs, with columns `variant` and `seed` after `epoch`."""
        tables = [pd.DataFrame(run.course) for run in runs]
        for table, run in zip(tables, runs, strict=True):
            table.insert(1, "variant", self.name)
            table.insert(2, "seed", run.seed)
        return pd.concat(tables, ignore_index=True)

    def results(self, runs: Sequence[SeedMeasured]) -> dict[str, np.ndarray]:
        """The sheet of views; and by name, (seeds, N) whether each test image was classified correctly."""
        return {"views": self._shown_views(), **self._all_hits(runs)}

    @staticmethod
    def _all_hits(runs: Sequence[SeedMeasured]) -> dict[str, np.ndarray]:
        return {key: np.stack([run.hits[key] for run in runs]) for key in runs[0].hits}

    @cached_property
    def _resampling(self) -> Resampling:
        return Resampling(self.seed, self.settings.confidence_level, self.settings.bootstrap, f"ssl {self.name}")

    def _shown_views(self) -> np.ndarray:
        """(rows, 1 + views, C, H, W) uint8: the first training images, each followed by views of it."""
        images = torch.from_numpy(np.array(self.dataset.train.images[:SHOWN])).to(self.device)
        draw = Draw(self.device, (self.seed, "shown views"))
        made = [to_uint8(self.views(to_float(images), draw)) for _ in range(VIEWS)]
        return torch.stack([images, *made], dim=1).cpu().numpy()
