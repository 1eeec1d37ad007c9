"""What the latent variables of a VAE carry."""

import numpy as np
import pandas as pd

# Burda et al. 2016 (arXiv:1509.00519), section 5: a unit is active when its mean moves by more than this over the data.
ACTIVE_VARIANCE = 0.01


def active_units(mu: np.ndarray) -> int:
    """Number of latents whose posterior mean varies over the images; mu: (N, latents)."""
    return int((mu.var(axis=0) > ACTIVE_VARIANCE).sum())


def class_table(mu: np.ndarray, labels: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """Mean and spread of each latent over each class, and its share in setting the class apart.

    Columns: class, latent, mean, std, share. `share` is the latent's part of the class mean's squared distance from
    the mean over all images; it sums to 1 within a class.
    """
    overall = mu.mean(axis=0)
    tables = []
    for number, name in enumerate(classes):
        rows = mu[labels == number]
        offset = np.square(rows.mean(axis=0) - overall)
        tables.append(
            pd.DataFrame(
                {
                    "class": name,
                    "latent": range(mu.shape[1]),
                    "mean": rows.mean(axis=0),
                    "std": rows.std(axis=0),
                    "share": offset / offset.sum(),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def top_share(mu: np.ndarray, labels: np.ndarray, classes: int, top: int) -> np.ndarray:
    """(classes,) the share of each class's between-class variance that its `top` strongest latents carry."""
    overall = mu.mean(axis=0)
    offsets = np.stack([np.square(mu[labels == c].mean(axis=0) - overall) for c in range(classes)])
    return np.sort(offsets, axis=1)[:, -top:].sum(axis=1) / offsets.sum(axis=1)


def step_evenness(features: np.ndarray) -> np.ndarray:
    """(pairs,) largest over mean step along paths of features (pairs, steps, d): 1 is perfectly even."""
    steps = np.linalg.norm(np.diff(features, axis=1), axis=2)
    return steps.max(axis=1) / steps.mean(axis=1)
