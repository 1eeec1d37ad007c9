"""The course of a training: how the representation changed over the epochs whose weights were kept."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from triptych.core.errors import InputError
from triptych.data.storage import Dataset
from triptych.measures import needs
from triptych.measures.params import CollapseThresholds, KNNParams
from triptych.nn.weights import load_weights
from triptych.ssl.collapse import effective_rank, embedding_std, first_collapse
from triptych.ssl.representation import Encoded, encode, knn_correct
from triptych.ssl.shared.network import SiameseNetwork


def load_history(path: Path) -> pd.DataFrame:
    """The table that the training of a variant wrote.

    Raises:
        InputError: it is missing or no table.
    """
    try:
        return pd.read_csv(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; the variant's training stage writes it") from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({reason}); run the variant's training stage again") from None


def course(
    network: SiameseNetwork,
    snapshots: Mapping[int, Path],
    dataset: Dataset,
    knn: KNNParams,
    device: torch.device,
    batch_size: int,
) -> tuple[list[dict[str, float]], Encoded | None, Encoded]:
    """One row for each epoch: epoch, knn_accuracy, and test_embedding_std and effective_rank of the embeddings.

    Of all test images; without two classes there is no `knn_accuracy`. Also what the weights of the last epoch make of
    training and test images; of training images only where there are two classes.

    Args:
        network: takes the weights of each epoch in turn, and keeps those of the last.
        snapshots: the weights of each epoch.
        dataset: the images.
        knn: how neighbours vote.
        device: where to compute.
        batch_size: images at once.
    """
    rows, train, classless = [], None, needs.two_classes(dataset)
    for epoch, weights in snapshots.items():
        load_weights(weights, network)
        row: dict[str, float] = {"epoch": epoch}
        test = encode(network, dataset.test.images, device, batch_size)
        if not classless:
            train = encode(network, dataset.train.images, device, batch_size)
            hits = knn_correct(train.features(knn.features), test.features(knn.features), dataset, knn)
            row["knn_accuracy"] = float(hits.mean())
        alone = len(test.projector) < 2  # one embedding has no spread: an empty cell
        row["test_embedding_std"] = math.nan if alone else embedding_std(test.projector)
        row["effective_rank"] = math.nan if alone else effective_rank(test.projector)
        rows.append(row)
    return rows, train, test


def collapsed_since(table: pd.DataFrame, thresholds: CollapseThresholds) -> int | None:
    """The kept epoch from which the last of the seeds to collapse stayed collapsed, by std or rank.

    Args:
        table: rows of `course` of every seed, with a column `seed`.
        thresholds: of a collapse.

    Returns:
        None where a seed was not collapsed at its last kept epoch.
    """
    firsts = []
    for _, rows in table.groupby("seed"):
        # Below 1 where either number is below its threshold.
        spread = rows["test_embedding_std"] / thresholds.embedding_std
        health = np.minimum(spread, rows["effective_rank"] / thresholds.effective_rank)
        firsts.append(first_collapse(rows["epoch"].tolist(), health.tolist(), 1.0))
    return None if None in firsts else max(firsts)
