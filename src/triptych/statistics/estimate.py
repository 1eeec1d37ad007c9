"""A number with its interval: one type from the measure that makes it to the page that shows it.

In a metrics file an estimate stands in two places: its value under its key, its interval under the same key of
`intervals`. `split` and `joined` go from one form to the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass


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


def split(numbers: Mapping[str, object]) -> dict[str, object]:
    """Numbers as a metrics file holds them: the value of each estimate under its key, the bounds under `intervals`.

    A mapping of numbers under a key, and rows of a list under a key, are split likewise where they hold estimates, each
    with its own `intervals`.
    """
    intervals = {key: entry.interval for key, entry in numbers.items() if isinstance(entry, Estimate)}
    return {key: _as_in_files(entry) for key, entry in numbers.items()} | {"intervals": intervals}


def _as_in_files(entry: object) -> object:
    if isinstance(entry, Estimate):
        return entry.value
    if isinstance(entry, list):
        return [_as_in_files(row) for row in entry]
    return split(entry) if _holds_estimates(entry) else entry


def _holds_estimates(entry: object) -> bool:
    return isinstance(entry, Mapping) and any(isinstance(number, Estimate) for number in entry.values())


def joined(metrics: Mapping[str, object], key: str) -> Estimate | None:
    """The estimate of a key of a metrics file; None where it has no value or no interval."""
    intervals = metrics.get("intervals")
    interval = intervals.get(key) if isinstance(intervals, Mapping) else None
    value = metrics.get(key)
    if interval is None or not isinstance(value, int | float):
        return None
    return Estimate(float(value), float(interval["low"]), float(interval["high"]))
