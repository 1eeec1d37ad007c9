"""A number with its interval: one type from the measure to the page.

A metrics file holds the value of an estimate under its key, and the bounds under the same key of `intervals`. A number
that the images cannot give has only a reason, under its key of `left_out`. `split` writes this form, `joined` reads it.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from triptych.core.errors import InputError


@dataclass(frozen=True)
class Estimate:
    """A number and its interval. Comparisons return None if the interval contains both answers."""

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
        """Return True if the number is less than a margin away from zero, None if undecided."""
        if -margin < self.low and self.high < margin:
            return True
        return False if self.low >= margin or self.high <= -margin else None

    @property
    def interval(self) -> dict[str, float]:
        return {"low": self.low, "high": self.high}

    def flat(self, name: str) -> dict[str, float]:
        """Return the value under `name` and the bounds under names derived from it."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


@dataclass(frozen=True)
class LeftOut:
    """Placeholder of a number that these images cannot give, with the reason as a clause."""

    reason: str


def split(numbers: Mapping[str, object]) -> dict[str, object]:
    """Return numbers, at any depth, in the form of a metrics file. NaN or infinity raises InputError."""
    entries = _split(numbers)
    for key, value in _numbers_in(entries):
        if not math.isfinite(value):
            raise InputError(f"{key} came out as {value}, which is no number; no file of these numbers is written")
    return entries


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
    holds_estimates = isinstance(entry, Mapping) and any(isinstance(x, Estimate | LeftOut) for x in entry.values())
    return _split(entry) if holds_estimates else entry


def _numbers_in(value: object, key: str = "") -> Iterator[tuple[str, float]]:
    entries = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for name, entry in entries:
        yield from _numbers_in(entry, f"{key}.{name}".removeprefix("."))
    if isinstance(value, float):
        yield key, value


def joined(metrics: Mapping[str, object], key: str) -> Estimate | None:
    """Return the estimate under a key of a metrics file; None without a value or an interval."""
    intervals = metrics.get("intervals")
    interval = intervals.get(key) if isinstance(intervals, Mapping) else None
    value = metrics.get(key)
    if interval is None or not isinstance(value, int | float):
        return None
    return Estimate(float(value), float(interval["low"]), float(interval["high"]))
