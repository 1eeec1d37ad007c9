"""A number with its interval: one type from the measure that makes it to the page that shows it.

In a metrics file an estimate stands in two places: its value under its key, its interval under the same key of
`intervals`. `split` and `joined` go from one form to the other. A number that the images cannot give has neither: its
reason stands under its key of `left_out`.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from triptych.core.errors import InputError


@dataclass(frozen=True)
class Estimate:
    """A number and the interval that it lies in."""

    value: float
    low: float
    high: float

    def above(self, threshold: float) -> bool | None:
        """Whether it is above the threshold; None if the interval holds both answers."""
        if self.low > threshold:
            return True
        return False if self.high <= threshold else None

    def below(self, threshold: float) -> bool | None:
        """Whether it is below the threshold; None if the interval holds both answers."""
        if self.high < threshold:
            return True
        return False if self.low >= threshold else None

    def within(self, margin: float) -> bool | None:
        """Whether it is less than a margin away from zero; None if the interval holds both answers."""
        if -margin < self.low and self.high < margin:
            return True
        return False if self.low >= margin or self.high <= -margin else None

    @property
    def interval(self) -> dict[str, float]:
        """The interval as files hold it."""
        return {"low": self.low, "high": self.high}

    def flat(self, name: str) -> dict[str, float]:
        """The three numbers under names of their own."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


@dataclass(frozen=True)
class LeftOut:
    """In the place of a number that these images cannot give: why, as a clause."""

    reason: str


def split(numbers: Mapping[str, object]) -> dict[str, object]:
    """Numbers as a metrics file holds them: the value of each estimate under its key, the bounds under `intervals`.

    What is left out stands under `left_out` alone, with its reason. A mapping of numbers under a key, and rows of a
    list under a key, are split likewise where they hold either, each with its own `intervals` and `left_out`.

    Raises:
        InputError: a number is NaN or infinite, which no file holds.
    """
    found = _split(numbers)
    for key, value in _numbers_in(found):
        if not math.isfinite(value):
            raise InputError(f"{key} came out as {value}, which is no number; no file of these numbers is written")
    return found


def _split(numbers: Mapping[str, object]) -> dict[str, object]:
    kept = {key: entry for key, entry in numbers.items() if not isinstance(entry, LeftOut)}
    left_out = {key: entry.reason for key, entry in numbers.items() if isinstance(entry, LeftOut)}
    intervals = {key: entry.interval for key, entry in kept.items() if isinstance(entry, Estimate)}
    return {
        **{key: _as_in_files(entry) for key, entry in kept.items()},
        **({"left_out": left_out} if left_out else {}),
        "intervals": intervals,
    }


def _numbers_in(value: object, key: str = "") -> Iterator[tuple[str, float]]:
    """Every float below a value, by its dotted key."""
    entries = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for name, entry in entries:
        yield from _numbers_in(entry, f"{key}.{name}".removeprefix("."))
    if isinstance(value, float):
        yield key, value


def _as_in_files(entry: object) -> object:
    if isinstance(entry, Estimate):
        return entry.value
    if isinstance(entry, list):
        return [_as_in_files(row) for row in entry]
    return _split(entry) if _holds_estimates(entry) else entry


def _holds_estimates(entry: object) -> bool:
    return isinstance(entry, Mapping) and any(isinstance(number, Estimate | LeftOut) for number in entry.values())


def joined(metrics: Mapping[str, object], key: str) -> Estimate | None:
    """The estimate of a key of a metrics file; None where it has no value or no interval."""
    intervals = metrics.get("intervals")
    interval = intervals.get(key) if isinstance(intervals, Mapping) else None
    value = metrics.get(key)
    if interval is None or not isinstance(value, int | float):
        return None
    return Estimate(float(value), float(interval["low"]), float(interval["high"]))
