"""Read the result files of the pipeline (metrics, tables and arrays) and params.yaml."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.core.errors import InputError
from triptych.core.schema import read_yaml
from triptych.measures.estimate import Estimate, joined
from triptych.report.formatting import written

if TYPE_CHECKING:  # both take long to import, and the terminal needs neither
    import numpy as np
    import pandas as pd

CLAIMS = "metrics/claims.json"


class UnmeasuredError(Exception):
    """Raised when a requested number is missing from the result files."""


@dataclass(frozen=True)
class Metrics:
    """Content of a metrics file, or of one mapping in a list in the file."""

    path: str  # relative to the root of the run
    values: Mapping

    def __contains__(self, key: str) -> bool:
        return self.value(key) is not None

    def value(self, key: str) -> object:
        """Return the value at a dotted key, or None if the key is missing. A number with an interval is an Estimate."""
        return value_at(self.values, key)

    def number(self, key: str) -> float:
        """Return the number at a dotted key without its interval. Raises UnmeasuredError if the number is missing."""
        value = self.value(key)
        if value is None:
            raise self.missing(key)
        return float(value.value if isinstance(value, Estimate) else value)

    def estimate(self, key: str) -> Estimate:
        """Return the number at a dotted key with its interval. Raises UnmeasuredError if either is missing."""
        value = self.value(key)
        if value is None:
            raise self.missing(key)
        if not isinstance(value, Estimate):
            raise UnmeasuredError(f"{self.path} has no interval for {key}")
        return value

    def missing(self, key: str) -> UnmeasuredError:
        """Return the error for a missing number at `key`. The message includes the reason if the file states one."""
        section, _, name = f".{key}".rpartition(".")
        reason = value_at(self.values, f"{section}.left_out.{name}".removeprefix("."))
        return UnmeasuredError(f"{self.path} has no {key}" + (f": {reason}" if reason else ""))

    def leaves(self) -> dict[str, object]:
        """Return all values in a flat dict with dotted keys. A number with an interval becomes an Estimate."""
        return dict(_leaves(self.values))

    @property
    def left_out(self) -> dict[str, str]:
        """Dict that maps the dotted key of each missing number to the reason why it was not measured."""
        return dict(_left_out(self.values))

    def rows(self, key: str) -> list["Metrics"]:
        """Return each mapping in the list at the top-level key `key`, or an empty list if the key is missing."""
        return [Metrics(self.path, row) for row in self.values.get(key) or []]


@dataclass(frozen=True)
class Results:
    """Reader of the files in the folder `root`. Each file is read once. Missing or damaged files raise InputError."""

    root: Path = Path()
    opened: dict[str, None] = field(default_factory=dict, repr=False, compare=False)  # paths in the order of use
    _read: dict[str, object] = field(default_factory=dict, repr=False, compare=False)

    @property
    def params(self) -> dict:
        return self._once("params.yaml", read_yaml)

    def param(self, key: str) -> object:
        """Return the value at a dotted key of params.yaml. Raises InputError if the key is missing."""
        value = value_at(self.params, key)
        if value is None:
            raise InputError(f"{self.root / 'params.yaml'}: key '{key}' is missing")
        return value

    def has(self, path: str) -> bool:
        """Return True if the file `path` exists in the folder `root`."""
        return (self.root / path).exists()

    def metrics(self, name: str) -> Metrics:
        """Return the content of metrics/<name>.json."""
        path = f"metrics/{name}.json"
        values = self._once(path, _json)
        if not isinstance(values, dict):
            raise self._unexpected(path, "a mapping of metrics")
        return Metrics(path, values)

    def timing(self, name: str) -> Metrics:
        """Return the content of metrics/timing/<name>.json."""
        return self.metrics(f"timing/{name}")

    def claims(self) -> list[dict]:
        """Return the content of metrics/claims.json: a list with one dict per claim."""
        records = self._once(CLAIMS, _json)
        if not (isinstance(records, list) and all(isinstance(one, dict) and "verdict" in one for one in records)):
            raise self._unexpected(CLAIMS, "a list of claims with their verdicts")
        return records

    def table(self, path: str, *columns: str) -> "pd.DataFrame":
        """Read a CSV file as a data frame. Raises InputError if one of the required `columns` is missing."""
        table = self._once(path, _csv)
        missing = [column for column in columns if column not in table]
        if missing:
            raise self._unexpected(path, f"a column {missing[0]}")
        return table

    def arrays(self, path: str) -> "Mapping[str, np.ndarray]":
        """Return a mapping from names to the arrays in the .npz file `path`."""
        from triptych.core.files import read_arrays

        return self._once(path, read_arrays)

    def _unexpected(self, path: str, expected: str) -> InputError:
        return InputError(f"{self.root / path}: expected {expected}; rerun the stage that writes it")

    def _once(self, path: str, read: Callable[[Path], object]) -> Any:
        self.opened[path] = None
        if path not in self._read:
            file = self.root / path
            try:
                self._read[path] = read(file)
            except FileNotFoundError:
                raise InputError(f"{file}: no such file; first run the stage that writes it") from None
            except (OSError, ValueError) as error:
                reason = " ".join(str(error).split())
                raise InputError(f"{file}: cannot be read ({reason}); rerun the stage that writes it") from None
        return self._read[path]


def value_at(tree: Mapping | Sequence, key: str) -> object:
    """Return the value at a dotted key of `tree`, or None if the key is missing.

    In lists, a part of the key is an index or `field=value`, as in `sampling.-1.steps` and `restoration.t=30.ssim`. A
    number with an interval becomes an Estimate.
    """
    value: object = tree
    for step in key.split("."):
        field_name, is_pair, wanted = step.partition("=")
        if isinstance(value, Mapping):
            value = joined(value, step) or value.get(step)
        elif not isinstance(value, Sequence) or isinstance(value, str):
            return None
        elif is_pair:
            value = next((entry for entry in value if written(entry.get(field_name), ".10g") == wanted), None)
        else:
            is_index = step.removeprefix("-").isdigit() and -len(value) <= int(step) < len(value)
            value = value[int(step)] if is_index else None
    return value


def _json(path: Path) -> object:
    return json.loads(path.read_text(encoding="utf-8"))


def _csv(path: Path) -> "pd.DataFrame":
    import pandas as pd

    # Only an empty cell is missing: a class may be called NA.
    return pd.read_csv(path, dtype={"class": str}, keep_default_na=False, na_values=[""])


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
        if key == "left_out":
            yield from ((f"{above}{name}", reason) for name, reason in value.items())
            continue
        for row in value if isinstance(value, list) else [value]:
            if isinstance(row, Mapping):
                yield from _left_out(row, f"{above}{key}.")
