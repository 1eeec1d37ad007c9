"""The numbers of one variant of the third study, over its seeds, from its trained encoders and the dataset."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from triptych.core.files import write_json
from triptych.core.model_files import load_model, seed_folder
from triptych.core.randomness import Draw
from triptych.core.seeds import fold
from triptych.data.batches import to_float, to_uint8
from triptych.data.storage import Dataset
from triptych.measures.collapse import (
    alignment,
    diagnose,
    effective_rank,
    embedding_std,
    first_collapse,
    uniformity,
)
from triptych.measures.params import EvaluationParams
from triptych.measures.parts import gather
from triptych.measures.probe import linear_classes
from triptych.measures.representation import BLOCK, Encoded, encode, knn_correct
from triptych.ssl.shared.network import SiameseNetwork
from triptych.ssl.shared.params import SharedParams, SSLEvaluation
from triptych.ssl.shared.views import Views
from triptych.statistics.intervals import generator as bootstrap_generator
from triptych.statistics.intervals import seeded_interval

SHOWN, VIEWS = 4, 11  # training images of the sheet of views, and views of each


@dataclass(frozen=True)
class Settings:
    """How to measure: the pipeline's seed, what the variants share, the study's settings and those of all studies."""

    seed: int
    shared: SharedParams
    study: SSLEvaluation
    intervals: EvaluationParams


class SSLStudy:
    """Measures one variant.

    Args:
        name: of the variant.
        dataset: its images.
        settings: see Settings.
        device: where to compute.
    """

    def __init__(self, name: str, dataset: Dataset, settings: Settings, device: torch.device) -> None:
        self.name, self.dataset, self.settings, self.device = name, dataset, settings, device
        self.views = Views(settings.shared.views)
        self.seeds = range(settings.seed, settings.seed + settings.shared.seeds)

    def measure(self, models: Path, history: Path, metrics: Path, results: Path) -> None:
        """Writes the metrics file and `results.npz`.

        Args:
            models: folder of the variant's models.
            history: its training table.
            metrics: the file to write.
            results: what each test image came to, and the views that the variant saw.
        """
        table = pd.read_csv(history)
        if not self.dataset.labelled:
            print(f"evaluate_ssl@{self.name}: the images have no labels, so no accuracy is measured", file=sys.stderr)
        parts = {f"seed {seed}": self._part(models, table, seed) for seed in self.seeds}
        measured, _ = gather(f"evaluate_ssl@{self.name}", parts)
        runs = [measured[seed] for seed in self.seeds]
        hits = {key: np.stack([run["hits"][key] for run in runs]) for key in runs[0]["hits"]}
        write_json(metrics, self._summary([run["numbers"] for run in runs], hits, table))
        results.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(results, allow_pickle=False, views=self._views(), **hits)

    # One seed ---------------------------------------------------------------------------------------------------------

    def _part(self, models: Path, table: pd.DataFrame, seed: int) -> Callable[[], dict]:
        folder = models if seed == self.seeds[0] else seed_folder(models, seed)

        def part() -> dict:
            network, config = load_model(folder, SiameseNetwork, self.device)
            numbers, hits = self._representation(network, seed)
            if self.dataset.labelled:
                # The very weights from which this seed's training started.
                torch.manual_seed(fold(seed, "weights"))
                start = SiameseNetwork(**config["network"])
                start = start.to(self.device, memory_format=torch.channels_last)
                floor = self._accuracy(*self._encode(start))
                hits |= {f"random_init_{key}": value for key, value in floor.items()}
            losses = table[table["seed"] == seed].sort_values("epoch")["loss"]
            numbers |= {key.replace("_correct", "_accuracy"): float(value.mean()) for key, value in hits.items()}
            return {seed: {"numbers": numbers | {"final_loss": float(losses.iloc[-1])}, "hits": hits}}

        return part

    def _representation(self, network: SiameseNetwork, seed: int) -> tuple[dict, dict]:
        """The numbers of the embeddings, and which test images are classified correctly."""
        train, test = self._encode(network)
        first, second = (self._embed_views(network, seed, number) for number in (1, 2))
        numbers = {
            "embedding_std": embedding_std(test.projector),
            "effective_rank": effective_rank(test.projector),
            "alignment": alignment(first, second),
            "uniformity": uniformity(test.projector[: self.settings.study.pairs]),
        }
        return numbers, self._accuracy(train, test) if self.dataset.labelled else {}

    def _encode(self, network: SiameseNetwork) -> tuple[Encoded, Encoded]:
        return tuple(encode(network, split.images, self.device) for split in (self.dataset.train, self.dataset.test))

    def _accuracy(self, train: Encoded, test: Encoded) -> dict[str, np.ndarray]:
        """Which test images get their label, by nearest neighbours and by the linear probe of backbone features."""
        labels = torch.from_numpy(np.array(self.dataset.train.labels))
        linear = linear_classes(train.backbone, labels, test.backbone, self.settings.study.probe_penalty)
        return {
            "knn_correct": knn_correct(train, test, self.dataset, self.settings.shared.knn),
            "linear_correct": linear.cpu().numpy() == np.asarray(self.dataset.test.labels),
        }

    @torch.inference_mode()
    def _embed_views(self, network: SiameseNetwork, seed: int, number: int) -> Tensor:
        """Embeddings of one view of each of the first test images."""
        draw = Draw(self.device, (seed, "alignment", number))
        images = torch.from_numpy(np.array(self.dataset.test.images[: self.settings.study.pairs])).to(self.device)
        return torch.cat([network(self.views(to_float(block), draw))[0].float() for block in images.split(BLOCK)])

    # All seeds --------------------------------------------------------------------------------------------------------

    def _summary(self, runs: list[dict], hits: dict[str, np.ndarray], table: pd.DataFrame) -> dict:
        """Means over the seeds, intervals over test images and seeds, the diagnosis, and each seed's own numbers."""
        thresholds = self.settings.study.collapse
        limits = {"std_threshold": thresholds.embedding_std, "rank_threshold": thresholds.effective_rank}
        diagnoses = [diagnose(run["embedding_std"], run["effective_rank"], **limits) for run in runs]
        means = {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
        overall = diagnose(means["embedding_std"], means["effective_rank"], **limits)
        return means | {
            "collapsed": overall.collapsed,
            "collapsed_since_epoch": self._collapsed_since(table) if overall.collapsed else None,
            "collapse_kind": overall.kind,
            "collapse_reason": overall.reason,
            "seeds": [
                {"seed": seed, **run, "collapsed": found.collapsed}
                for seed, run, found in zip(self.seeds, runs, diagnoses, strict=True)
            ],
            "intervals": {key.replace("_correct", "_accuracy"): self._interval(key, hits[key]) for key in hits},
        }

    def _collapsed_since(self, table: pd.DataFrame) -> int | None:
        """The measured epoch from which the last of the seeds to collapse stayed collapsed, by std or rank."""
        thresholds = self.settings.study.collapse
        firsts = []
        for _, rows in table.dropna(subset=["effective_rank"]).groupby("seed"):
            # Below 1 where either number is below its threshold.
            spread = rows["test_embedding_std"] / thresholds.embedding_std
            health = np.minimum(spread, rows["effective_rank"] / thresholds.effective_rank)
            firsts.append(first_collapse(rows["epoch"].tolist(), health.tolist(), 1.0))
        return None if None in firsts else max(firsts)

    def _interval(self, key: str, hits: np.ndarray) -> dict[str, float]:
        shared = self.settings.intervals
        rng = bootstrap_generator(self.settings.seed, f"ssl {self.name} {key}")
        interval = seeded_interval(hits.astype(np.float64), shared.confidence_level, shared.bootstrap, rng)
        # Few seeds that differ make it wide; no accuracy lies beyond 0 or 1.
        return {bound: min(1.0, max(0.0, value)) for bound, value in interval.items()}

    def _views(self) -> np.ndarray:
        """(rows, 1 + views, C, H, W) uint8: the first training images, each followed by views of it."""
        images = torch.from_numpy(np.array(self.dataset.train.images[:SHOWN])).to(self.device)
        draw = Draw(self.device, (self.settings.seed, "shown views"))
        made = [to_uint8(self.views(to_float(images), draw)) for _ in range(VIEWS)]
        return torch.stack([images, *made], dim=1).cpu().numpy()
