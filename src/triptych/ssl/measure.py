"""Evaluate trained encoders: classification accuracy, statistics of the embeddings, and collapse."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from triptych.core.errors import InputError
from triptych.data.storage import Dataset
from triptych.machine.randomness import Draw
from triptych.machine.tasks import run_tasks
from triptych.measures import needs
from triptych.measures.estimate import LeftOut
from triptych.measures.images import in_float64, to_uint8
from triptych.measures.intervals import Resampling
from triptych.measures.params import CollapseThresholds, EvaluationParams
from triptych.nn.weights import load_model, load_weights, seed_folder, snapshot_files
from triptych.ssl.probe import encode, knn_correct, linear_correct
from triptych.ssl.shared.network import SiameseNetwork, spread
from triptych.ssl.shared.views import Views
from triptych.training.objective import to_float

EPSILON = 1e-7  # ε of RankMe: keeps the logarithm finite for singular values of zero
BLOCK = 1024  # rows of the distance matrix that are in memory at once; 80 MB for 10,000 embeddings
SHOWN, VIEWS = 4, 11  # number of training images on the sheet of views, and of views per image
Layers = dict[str, Tensor]  # features of images by layer, see `encode`
COLLAPSE = ("collapsed", "collapsed_since_epoch", "collapse_kind", "collapse_reason")


# --- Embeddings, in float64 ---


def embedding_std(z: Tensor) -> float:
    """Return the spread of embeddings z of shape (N, d): 0 if all are equal, 1 if spread evenly over the sphere."""
    return float(spread(in_float64(z)))


def effective_rank(z: Tensor) -> float:
    """Return RankMe, the effective rank of embeddings z of shape (N, d) (Garrido et al. 2023, arXiv:2210.02885).

    RankMe is the exponential of the entropy of p = σ / ‖σ‖₁ + 1e-7 (equation 1), where σ are the singular values of z.
    It is about 1 if all embeddings lie on one line through zero, and at most about min(N, d). As in the paper, the
    embeddings are not centred.
    """
    wide = in_float64(z)
    # Singular values are computed from the smaller Gram matrix. This is linear in N, and in float64 accurate to 1e-8 of
    # the largest value, which is below ε. Scaling avoids underflow of tiny embeddings.
    wide = wide / wide.abs().amax().clamp(min=torch.finfo(torch.float64).tiny)
    gram = wide.T @ wide if z.shape[1] <= len(z) else wide @ wide.T
    sigma = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    p = sigma / sigma.sum().clamp(min=torch.finfo(torch.float64).tiny) + EPSILON
    return float((-(p * p.log()).sum()).exp())


def alignment(z1: Tensor, z2: Tensor) -> float:
    """Return the alignment of the embeddings z1 and z2 of two views of the same N images.

    z1 and z2 have shape (N, d). Alignment is the mean squared distance between the normalised embeddings of an image.
    It lies in [0, 4], and 0 means equal embeddings (Wang & Isola 2020, arXiv:2005.10242).
    """
    unit1, unit2 = (functional.normalize(in_float64(z), dim=1) for z in (z1, z2))
    return float((unit1 - unit2).square().sum(dim=1).mean())


def uniformity(z: Tensor, block: int = BLOCK) -> float:
    """Return the uniformity of embeddings z of shape (N, d) (Wang & Isola 2020, arXiv:2005.10242).

    Uniformity is the logarithm of the mean of exp(-2 ‖zi - zj‖²) over pairs i ≠ j of normalised embeddings. It is 0 if
    all embeddings are equal, about -4 if they are spread evenly over a high-dimensional sphere, and NaN for one
    embedding. To save memory, `block` rows of the distance matrix are computed at once.
    """
    unit = functional.normalize(in_float64(z), dim=1)
    if len(unit) < 2:
        return math.nan
    squares = unit.square().sum(dim=1)
    total = 0.0
    for start in range(0, len(unit), block):
        rows = slice(start, start + block)
        distances = (squares[rows, None] + squares - 2 * unit[rows] @ unit.T).clamp(min=0)
        kernel = (-2 * distances).exp()
        kernel[:, rows].fill_diagonal_(0)  # exclude pairs of an embedding with itself
        total += float(kernel.sum())
    return math.log(total / (len(z) * (len(z) - 1)))


# --- Collapse ---


def collapse_of(std: float, rank: float, limits: CollapseThresholds) -> tuple[str, str]:
    """Return the kind of collapse, "complete", "dimensional" or "none", and a sentence that gives the reason.

    Collapse is complete if the spread `std` of the embeddings is below `limits.embedding_std`. Otherwise, it is
    dimensional if their effective rank `rank` is below `limits.effective_rank`.
    """
    if std < limits.embedding_std:
        return "complete", (
            f"All embeddings are almost equal: their embedding std is {std:.3g}, below {limits.embedding_std:g} "
            f"(1 is an even spread), and their effective rank is {rank:.1f}."
        )
    if rank < limits.effective_rank:
        return "dimensional", (
            f"The embeddings vary along few directions: their effective rank is {rank:.1f}, below "
            f"{limits.effective_rank:g}, while their embedding std is {std:.3g} (1 is an even spread)."
        )
    return "none", (
        f"The embeddings are spread out: their embedding std is {std:.3g}, not below {limits.embedding_std:g}, and "
        f"their effective rank is {rank:.1f}, not below {limits.effective_rank:g}."
    )


def collapsed_since(courses: Sequence[Sequence[Mapping[str, float]]], limits: CollapseThresholds) -> int | None:
    """Return the first snapshot epoch from which all seeds stay collapsed, or None if a seed ends without collapse.

    `courses` contains, for each seed, the metrics at each snapshot of the weights, in epoch order.
    """
    first = []
    for rows in courses:
        epoch = None
        for row in reversed(rows):
            if collapse_of(row["test_embedding_std"], row["effective_rank"], limits)[0] == "none":
                break
            epoch = row["epoch"]
        first.append(epoch)
    return None if None in first else max(first)


# --- A variant ---


def final_losses(table: Path) -> dict[int, float]:
    """Return the final loss of each seed from the training log `table`. Raises InputError if it cannot be read."""
    try:
        history = pd.read_csv(table)
        return history.sort_values("epoch").groupby("seed")["loss"].last().to_dict()
    except FileNotFoundError:
        raise InputError(f"{table}: no such file; run the variant's training stage first") from None
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{table}: cannot be read ({reason}); run the variant's training stage again") from None


@dataclass(frozen=True)
class SeedResults:
    """Measures of an encoder that was trained with one seed: after training and at each snapshot."""

    seed: int
    numbers: dict[str, float]  # all except accuracies
    correct: dict[str, np.ndarray]  # mask (N,) of correctly classified test images, by classifier
    course: list[dict[str, object]]  # one row per snapshot


@dataclass(frozen=True)
class SSLMeasures:
    """Evaluation of the encoders of all seeds, `at_once` in parallel. `baselines` is from `measure_baselines`."""

    variant: str
    dataset: Dataset
    views: Views
    settings: EvaluationParams
    seeds: range
    baselines: Mapping[str, np.ndarray]
    device: torch.device
    at_once: int = 1

    def measure(self, models: Path, snapshots: Path, losses: Mapping[int, float]) -> list[SeedResults]:
        measured = partial(self._measure_seed, models, snapshots)
        tasks = {f"seed {seed}": partial(measured, seed, losses[seed]) for seed in self.seeds}
        return list(run_tasks(f"evaluate_ssl@{self.variant}", tasks, self.at_once).values())

    def _measure_seed(self, models: Path, snapshots: Path, seed: int, final_loss: float) -> SeedResults:
        ssl = self.settings.ssl
        network, _ = load_model(seed_folder(models, seed, self.seeds[0]), SiameseNetwork, self.device)
        train, test = self._encode(network)
        view1, view2 = (self._embed_views(network, (seed, "alignment", number)) for number in (1, 2))
        numbers = {
            "embedding_std": embedding_std(test["projector"]),
            "effective_rank": effective_rank(test["projector"]),
            "alignment": alignment(view1, view2),
            "uniformity": uniformity(test["projector"][: ssl.pairs]),
            "final_loss": final_loss,
        }
        numbers = {key: number for key, number in numbers.items() if key not in self.left_out}
        correct = {}
        if train:
            linear = linear_correct(train["backbone"], test["backbone"], self.dataset, ssl.probe_penalty)
            correct = {"knn": self._knn_correct(train, test), "linear": linear}

        # The last snapshot is the model, whose features are known already.
        kept = snapshot_files(seed_folder(snapshots, seed, self.seeds[0]))
        *earlier, last = kept
        course = []
        for epoch in earlier:
            load_weights(kept[epoch], network)
            course.append(self._course_row(seed, epoch, *self._encode(network)))
        return SeedResults(seed, numbers, correct, [*course, self._course_row(seed, last, train, test)])

    def _encode(self, network: SiameseNetwork) -> tuple[Layers | None, Layers]:
        train, test = self.dataset.train.images, self.dataset.test.images
        encoded = partial(encode, network, device=self.device, batch_size=self.settings.batch_size)
        return None if "knn_accuracy" in self.left_out else encoded(train), encoded(test)

    def _knn_correct(self, train: Layers, test: Layers) -> np.ndarray:
        knn = self.settings.ssl.knn
        return knn_correct(train[knn.features], test[knn.features], self.dataset, knn)

    def _course_row(self, seed: int, epoch: int, train: Layers | None, test: Layers) -> dict[str, object]:
        single = len(test["projector"]) < 2  # a single embedding has no spread
        return {
            "epoch": epoch,
            "variant": self.variant,
            "seed": seed,
            **({"knn_accuracy": float(self._knn_correct(train, test).mean())} if train else {}),
            "test_embedding_std": math.nan if single else embedding_std(test["projector"]),
            "effective_rank": math.nan if single else effective_rank(test["projector"]),
        }

    @torch.inference_mode()
    def _embed_views(self, network: SiameseNetwork, key: tuple) -> Tensor:
        draw = Draw(self.device, key)
        images = torch.from_numpy(np.array(self.dataset.test.images[: self.settings.ssl.pairs])).to(self.device)
        batches = images.split(self.settings.batch_size)
        return torch.cat([network(self.views(to_float(batch), draw))[0].float() for batch in batches])

    @cached_property
    def left_out(self) -> dict[str, LeftOut]:
        """The reason for each metric that cannot be computed on this dataset."""
        count, least_rank = len(self.dataset.test.images), self.settings.ssl.collapse.effective_rank
        # The rank of N embeddings is at most N, so that with few images it is always below the threshold.
        rank_images = max(2, math.floor(least_rank) + 1)
        reasons = {
            ("knn_accuracy", "linear_accuracy"): needs.two_classes(self.dataset),
            ("embedding_std", "effective_rank", "uniformity"): needs.images(count, 2),
            COLLAPSE: needs.images(count, rank_images, f"test images to tell a rank of {least_rank:g}"),
        }
        return {key: reason for keys, reason in reasons.items() if reason for key in keys}

    def summary(self, results: Sequence[SeedResults]) -> dict:
        """Return means over seeds, accuracies with confidence intervals, the kind of collapse, and metrics per seed."""
        limits, settings = self.settings.ssl.collapse, self.settings
        correct = self._correct(results)
        rows = [
            {"seed": one.seed, **one.numbers} | {f"{name}_accuracy": float(correct[name][i].mean()) for name in correct}
            for i, one in enumerate(results)
        ]
        means = {key: float(np.mean([one.numbers[key] for one in results])) for key in results[0].numbers}
        owner = f"ssl {self.variant}"
        resampling = Resampling(self.seeds[0], settings.confidence_level, settings.bootstrap, owner)
        summary = means | resampling.accuracies(correct) | self.left_out
        if "collapsed" not in self.left_out:
            kind, reason = collapse_of(means["embedding_std"], means["effective_rank"], limits)
            since = None if kind == "none" else collapsed_since([one.course for one in results], limits)
            summary |= dict(zip(COLLAPSE, (kind != "none", since, kind, reason), strict=True))
            for row in rows:
                row["collapsed"] = collapse_of(row["embedding_std"], row["effective_rank"], limits)[0] != "none"
        return summary | {"seeds": rows}

    def course(self, results: Sequence[SeedResults]) -> pd.DataFrame:
        return pd.DataFrame([row for one in results for row in one.course])

    def arrays(self, results: Sequence[SeedResults]) -> dict[str, np.ndarray]:
        """Return example views, and a mask of correct test images, of shape (seeds, N), for each classifier."""
        correct = {f"{name}_correct": rows for name, rows in self._correct(results).items()}
        return {"views": self._shown_views(), **correct}

    def _correct(self, results: Sequence[SeedResults]) -> dict[str, np.ndarray]:
        correct = {name: np.stack([one.correct[name] for one in results]) for name in results[0].correct}
        shape = (len(results), len(self.dataset.test.images))
        return correct | {name: np.broadcast_to(rows[: shape[0]], shape) for name, rows in self.baselines.items()}

    def _shown_views(self) -> np.ndarray:
        images = torch.from_numpy(np.array(self.dataset.train.images[:SHOWN])).to(self.device)
        draw = Draw(self.device, (self.seeds[0], "shown views"))
        views = [to_uint8(self.views(to_float(images), draw)) for _ in range(VIEWS)]
        return torch.stack([images, *views], dim=1).cpu().numpy()
