"""A number with its interval, and its form in a metrics file.

A metrics file has the value of an estimate under its key, and the bounds under the same key of `intervals`. For a
number that could not be measured, `left_out` has the reason. `write_metrics` writes this form, and `joined` reads it.
"""

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from triptych.core.errors import InputError
from triptych.core.files import write_json


@dataclass(frozen=True)
class Estimate:
    """A number and its confidence interval. Comparisons return None if the interval contains both answers."""

    value: float
    low: float
    high: float

    def above(self, threshold: float) -> bool | None:
        """Return True if the number is above the threshold, None if undecided."""
        return True if self.low > threshold else False if self.high <= threshold else None

    def below(self, threshold: float) -> bool | None:
        """Return True if the number is below the threshold, None if undecided."""
        return True if self.high < threshold else False if self.low >= threshold else None

    def within(self, margin: float) -> bool | None:
        """Return True if the absolute value of the number is below the margin, None if undecided."""
        if -margin < self.low and self.high < margin:
            return True
        return False if self.low >= margin or self.high <= -margin else None

    @property
    def interval(self) -> dict[str, float]:
        return {"low": self.low, "high": self.high}

    def flat(self, name: str) -> dict[str, float]:
        """Return the value under the key `name`, and the bounds under `name`_low and `name`_high."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


@dataclass(frozen=True)
class LeftOut:
    """Placeholder for a number that cannot be measured on these images; `reason` is a clause."""

    reason: str


def write_metrics(path: Path | str, numbers: Mapping[str, object]) -> None:
    """Write a metrics file, and print to stderr the numbers that could not be measured, one line per reason."""
    keys: dict[str, list[str]] = {}
    for key, value in _leaves(numbers):
        if isinstance(value, LeftOut):
            keys.setdefault(value.reason, []).append(key)
    for reason, left_out in keys.items():
        print(f"{path}: not measured, because {reason}: {', '.join(left_out)}", file=sys.stderr)
    write_json(path, split(numbers))


def split(numbers: Mapping[str, object]) -> dict[str, object]:
    """Convert nested numbers to the form of a metrics file. NaN or infinity raises InputError."""
    metrics = _split(numbers)
    for key, value in _leaves(metrics):
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{key} is {value}; the metrics file was not written")
    return metrics


def _split(numbers: Mapping[str, object]) -> dict[str, object]:
    kept = {key: entry for key, entry in numbers.items() if not isinstance(entry, LeftOut)}
    left_out = {key: entry.reason for key, entry in numbers.items() if isinstance(entry, LeftOut)}
    intervals = {key: entry.interval for key, entry in kept.items() if isinstance(entry, Estimate)}
    return {
        **{key: _in_file(entry) for key, entry in kept.items()},
        **({"left_out": left_out} if left_out else {}),
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
    """Yield key and value of each entry of nested mappings and lists, for example `restoration.0.psnr`."""
    if not isinstance(value, Mapping | list):
        yield key, value
        return
    for name, entry in value.items() if isinstance(value, Mapping) else enumerate(value):
        yield from _leaves(entry, f"{key}.{name}".removeprefix("."))


def joined(metrics: Mapping[str, object], key: str) -> Estimate | None:
    """Return the estimate under a key of a metrics file, or None if the value or its interval is missing."""
    intervals = metrics.get("intervals")
    interval = intervals.get(key) if isinstance(intervals, Mapping) else None
    value = metrics.get(key)
    if interval is None or not isinstance(value, int | float):
        return None
    return Estimate(float(value), float(interval["low"]), float(interval["high"]))
