"""Numbers with confidence intervals, and the format of such numbers in a metrics file.

A metrics file is a JSON file that maps keys to numbers. The mapping "intervals" contains their confidence intervals
under the same keys. If a number has a range over training seeds instead, the mapping "ranges" contains it. The mapping
"left_out" contains the reasons why numbers could not be measured.
"""

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from triptych.core.errors import InputError
from triptych.core.files import write_json


@dataclass(frozen=True)
class Estimate:
    """Number with a confidence interval from `low` to `high`."""

    value: float
    low: float
    high: float
    is_interval: ClassVar[bool] = True

    @property
    def shown(self) -> "Estimate":
        """The estimate to print. A subclass can return one with other bounds."""
        return self

    def above(self, threshold: float) -> bool | None:
        """Return True if the whole interval is above the threshold, False if no part of it is, and None otherwise."""
        return True if self.low > threshold else False if self.high <= threshold else None

    def below(self, threshold: float) -> bool | None:
        """Return True if the whole interval is below the threshold, False if no part of it is, and None otherwise."""
        return True if self.high < threshold else False if self.low >= threshold else None

    def within(self, margin: float) -> bool | None:
        """Return True if the whole interval is in (-margin, margin), False if no part of it is, and None otherwise."""
        if -margin < self.low and self.high < margin:
            return True
        return False if self.low >= margin or self.high <= -margin else None

    @property
    def interval(self) -> dict[str, float]:
        return {"low": self.low, "high": self.high}

    def flat(self, name: str) -> dict[str, float]:
        """Return the value and the bounds in a dict. If `name` is "x", the keys are "x", "x_low" and "x_high"."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


class SeedRange(Estimate):
    """Mean over training seeds. The bounds `low` and `high` are the lowest and the highest value of a single seed."""

    is_interval = False


@dataclass(frozen=True)
class LeftOut:
    """Placeholder for a number that could not be measured. `reason` completes "It was not measured, because …"."""

    reason: str


def write_metrics(path: Path | str, numbers: Mapping[str, object]) -> None:
    """Write numbers to a metrics file as JSON. Print to stderr which numbers could not be measured, and why."""
    keys: dict[str, list[str]] = {}
    for key, value in _leaves(numbers):
        if isinstance(value, LeftOut):
            keys.setdefault(value.reason, []).append(key)
    for reason, left_out in keys.items():
        print(f"{path}: not measured, because {reason}: {', '.join(left_out)}", file=sys.stderr)
    write_json(path, split(numbers))


def split(numbers: Mapping[str, object]) -> dict[str, object]:
    """Return numbers in the format of a metrics file: values, bounds, and reasons for missing values.

    `numbers` contains numbers, Estimates, LeftOuts and nested dicts. Raises InputError if a number is not finite.
    """
    metrics = _split(numbers)
    for key, value in _leaves(metrics):
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{key} must be finite, got {value}; the metrics file was not written")
    return metrics


def _split(numbers: Mapping[str, object]) -> dict[str, object]:
    kept = {key: entry for key, entry in numbers.items() if not isinstance(entry, LeftOut)}
    left_out = {key: entry.reason for key, entry in numbers.items() if isinstance(entry, LeftOut)}
    estimates = {key: entry for key, entry in kept.items() if isinstance(entry, Estimate)}
    intervals = {key: entry.interval for key, entry in estimates.items() if entry.is_interval}
    ranges = {key: entry.interval for key, entry in estimates.items() if not entry.is_interval}
    return {
        **{key: _in_file(entry) for key, entry in kept.items()},
        **({"left_out": left_out} if left_out else {}),
        **({"ranges": ranges} if ranges else {}),
        "intervals": intervals,
    }


def _in_file(entry: object) -> object:
    if isinstance(entry, Estimate):
        return entry.value
    if isinstance(entry, list):
        return [_in_file(row) for row in entry]
    has_estimates = isinstance(entry, Mapping) and any(isinstance(x, Estimate | LeftOut) for x in entry.values())
    return _split(entry) if has_estimates else entry


def _leaves(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    if not isinstance(value, Mapping | list):
        yield key, value
        return
    for name, entry in value.items() if isinstance(value, Mapping) else enumerate(value):
        yield from _leaves(entry, f"{key}.{name}".removeprefix("."))


def joined(metrics: Mapping[str, object], key: str) -> Estimate | None:
    """Return the estimate under `key` in the content of a metrics file, or None if the value or a bound is missing."""
    value = metrics.get(key)
    for section, kind in (("intervals", Estimate), ("ranges", SeedRange)):
        bounds = metrics.get(section)
        if isinstance(bounds, Mapping) and key in bounds and isinstance(value, int | float):
            return kind(float(value), float(bounds[key]["low"]), float(bounds[key]["high"]))
    return None
