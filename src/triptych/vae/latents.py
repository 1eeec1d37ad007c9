"""What the latent variables of a VAE carry."""

import numpy as np
import pandas as pd

# Burda et al. 2016 (arXiv:1509.00519), section 5: a unit is active when its mean moves by more than this over the data.
ACTIVE_VARIANCE = 0.01
COLUMNS = ["class", "latent", "mean", "std", "share"]


def active_units(mu: np.ndarray) -> int:
    """Number of latents whose posterior mean varies over the images; mu: (N, latents)."""
    return int((mu.var(axis=0) > ACTIVE_VARIANCE).sum())


def class_table(mu: np.ndarray, labels: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """Mean and spread of each latent over each class, and its share in setting the class apart.

    Columns: class, latent, mean, std, share. `share` is the latent's part of the class mean's squared distance from
    the mean over all images; it sums to 1 within a class, and to 0 where there is no distance. Fewer than two classes
    have no rows.
    """
    overall = mu.mean(axis=0)
    if len(classes) < 2:
        return pd.DataFrame(columns=COLUMNS)
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
                    "share": offset / offset.sum() if offset.any() else offset,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def top_share(mu: np.ndarray, labels: np.ndarray, classes: int, top: int) -> np.ndarray:
    """(classes,) the share of each class's between-class variance that its `top` strongest latents carry.

    NaN for a class without an image, or whose mean is that of all images.
    """
    overall, shares = mu.mean(axis=0), np.full(classes, np.nan, mu.dtype)
    for c in range(classes):
        of_class = mu[labels == c]
        offset = np.square(of_class.mean(axis=0) - overall) if len(of_class) else np.zeros_like(overall)
        if offset.any():
            shares[c] = np.sort(offset)[-top:].sum() / offset.sum()
    return shares


def step_evenness(features: np.ndarray) -> np.ndarray:
    """Largest over mean step along paths of features (pairs, steps, d): 1 is perfectly even.

    (pairs,), without those along which nothing changes.
    """
    steps = np.linalg.norm(np.diff(features, axis=1), axis=2)
    steps = steps[steps.any(axis=1)]
    return steps.max(axis=1) / steps.mean(axis=1)
