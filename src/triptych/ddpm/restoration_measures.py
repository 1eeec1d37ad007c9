"""What is left of test images that were noised to a time t and restored."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from triptych.judge.measure import Judge
from triptych.measures import needs
from triptych.measures.estimate import Estimate, LeftOut
from triptych.measures.intervals import Resampling
from triptych.measures.similarity import psnr, ssim

Row = dict[str, float | Estimate | LeftOut]


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
    """Same-class rate by the judge, PSNR in dB and SSIM of restored images.

    Args:
        t: the time.
        sigma: standard deviation of its noise.
        originals, noised, restored: uint8 (N, C, H, W).
        classes: (N,) what the judge saw in the originals; or why it sees no classes.
        judge: sees the restored images.
        resampling: how intervals are made.
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
    """The time at which half of the images have changed class, between the grid's times on a line.

    Returns:
        That time and True; or the last time of the grid and False where fewer changed.
    """
    # At time 0 nothing has changed.
    grid, shares = [0, *times], [1.0, *same_class]
    for place in range(1, len(grid)):
        if shares[place] <= 0.5:
            return float(np.interp(0.5, shares[place - 1 : place + 1][::-1], grid[place - 1 : place + 1][::-1])), True
    return float(times[-1]), False


def restoration_table(rows: Sequence[Row]) -> pd.DataFrame:
    """The rows' estimates in long form: t, metric, value, low, high."""
    lines = [
        {"t": row["t"], "metric": name, "value": entry.value, **entry.interval}
        for row in rows
        for name, entry in row.items()
        if isinstance(entry, Estimate)
    ]
    return pd.DataFrame(lines)
