"""The one reader of what the stages wrote: metrics, tables, arrays and params.yaml, below one folder."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.core.errors import InputError
from triptych.core.schema import read_yaml
from triptych.measures.estimate import Estimate, joined

if TYPE_CHECKING:  # both take long to import, and the terminal needs neither
    import numpy as np
    import pandas as pd


CLAIMS = "metrics/claims.json"


class UnmeasuredError(Exception):
    """A number does not exist in this run. The message is a clause that says which, and where it is known, why."""


@dataclass(frozen=True)
class Metrics:
    """The numbers of a metrics file, or of a row of a table in it.

    Attributes:
        path: of the file, as seen from the root.
        values: what it holds; intervals lie under `intervals`.
    """

    path: str
    values: Mapping

    def __contains__(self, key: str) -> bool:
        """Whether there is a value; null is none."""
        return self.values.get(key) is not None

    def value(self, key: str) -> object:
        """A number that has an interval as an estimate, any other value as it is, None where there is none."""
        return joined(self.values, key) or self.values.get(key)

    def number(self, key: str) -> float:
        """A number.

        Raises:
            UnmeasuredError: the file does not hold it.
        """
        if key not in self:
            raise self.missing(key)
        return float(self.values[key])

    def missing(self, key: str) -> UnmeasuredError:
        """What to raise where a number is not there; it says why, where the file does."""
        reason = self.left_out.get(key)
        return UnmeasuredError(f"{self.path} holds no {key}" + (f": {reason}" if reason else ""))

    def estimate(self, key: str) -> Estimate:
        """A number with its interval.

        Raises:
            UnmeasuredError: the file does not hold both.
        """
        self.number(key)
        found = joined(self.values, key)
        if found is None:
            raise UnmeasuredError(f"{self.path} holds no interval of {key}")
        return found

    def leaves(self) -> dict[str, object]:
        """Every value by its dotted key; a number that has an interval as an estimate."""
        return dict(_leaves(self.values))

    @property
    def left_out(self) -> dict[str, str]:
        """Why a number is not there, by its dotted key: what the images could not give."""
        return dict(_left_out(self.values))

    def part(self, key: str) -> "Metrics":
        """The numbers of a mapping in the file; none where it has no such mapping."""
        return Metrics(self.path, self.values.get(key) or {})

    def rows(self, key: str) -> list["Metrics"]:
        """The rows of a table in the file; none where it has no such table."""
        return [Metrics(self.path, row) for row in self.values.get(key) or []]


@dataclass(frozen=True)
class Results:
    """Everything that the stages of one run wrote. Each file is read once.

    Attributes:
        root: the folder that params.yaml, metrics, plots, samples and evaluations lie in.
    """

    root: Path = Path()
    _read: dict[str, object] = field(default_factory=dict, repr=False, compare=False)

    @property
    def params(self) -> dict:
        """What params.yaml holds.

        Raises:
            InputError: it is missing or no YAML.
        """
        return self._once("params.yaml", read_yaml)

    def param(self, key: str) -> object:
        """A value of params.yaml by its dotted key.

        Raises:
            InputError: there is none.
        """
        value = value_at(self.params, key)
        if value is None:
            raise InputError(f"{self.root / 'params.yaml'}: key '{key}' is missing")
        return value

    def has(self, path: str) -> bool:
        """Whether a file is there."""
        return (self.root / path).exists()

    def metrics(self, name: str) -> Metrics:
        """The numbers of metrics/<name>.json.

        Raises:
            InputError: the file is missing, or holds no mapping.
        """
        path = f"metrics/{name}.json"
        return Metrics(path, self._json(path, dict, "a mapping of metrics"))

    def timing(self, name: str) -> Metrics:
        """The numbers of metrics/timing/<name>.json.

        Raises:
            InputError: as `metrics`.
        """
        return self.metrics(f"timing/{name}")

    def claims(self) -> list[dict]:
        """The records of metrics/claims.json.

        Raises:
            InputError: the file is missing, or is not a list of mappings with a verdict.
        """
        records = self._json(CLAIMS, list, "a list of claims with their verdicts")
        if not all(isinstance(record, dict) and "verdict" in record for record in records):
            raise InputError(
                f"{self.root / CLAIMS}: expected a list of claims with their verdicts; run its stage again"
            )
        return records

    def table(self, path: str, *columns: str) -> "pd.DataFrame":
        """A table of comma-separated values. The column `class` holds names, also where these are digits.

        Args:
            path: as seen from the root.
            columns: that it must have.

        Raises:
            InputError: the file is missing, is no table, or lacks a column.
        """
        import pandas as pd

        # Nothing but an empty cell is missing: a class may be called NA.
        how = {"dtype": {"class": str}, "keep_default_na": False, "na_values": [""]}
        found = self._once(path, lambda where: pd.read_csv(where, **how))
        missing = [column for column in columns if column not in found]
        if missing:
            raise InputError(
                f"{self.root / path}: cannot be read (it has no column {missing[0]}); run the stage that writes it "
                "again"
            )
        return found

    def arrays(self, path: str) -> "Mapping[str, np.ndarray]":
        """The arrays of an .npz file.

        Raises:
            InputError: the file is missing or damaged.
        """
        from triptych.core.files import read_arrays

        return self._once(path, read_arrays)

    def _json(self, path: str, kind: type, expected: str) -> dict | list:
        found = self._once(path, lambda where: json.loads(where.read_text(encoding="utf-8")))
        if not isinstance(found, kind):
            raise InputError(
                f"{self.root / path}: expected {expected}, found {type(found).__name__}; run the stage that writes it "
                "again"
            )
        return found

    def _once(self, path: str, read: Callable[[Path], object]) -> Any:
        if path not in self._read:
            with _one_line(self.root / path):
                self._read[path] = read(self.root / path)
        return self._read[path]


def value_at(tree: Mapping, key: str) -> object:
    """The value at a dotted key; None where there is none."""
    value: object = tree
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _leaves(values: Mapping, above: str = "") -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if key in ("intervals", "left_out"):
            continue
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", joined(values, key) or value


def _left_out(values: Mapping, above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        rows = value if isinstance(value, list) else [value]
        if key == "left_out":
            yield from ((f"{above}{name}", reason) for name, reason in value.items())
        else:
            for row in rows:
                if isinstance(row, Mapping):
                    yield from _left_out(row, f"{above}{key}.")


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Turns what can be wrong with a file into one line."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the stage that writes it first") from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({reason}); run the stage that writes it again") from None
