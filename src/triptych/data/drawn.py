"""What is drawn from one trained model, as a stage writes it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Drawn:
    """Everything that was drawn from one model.

    Attributes:
        arrays: images and what belongs to them, by name.
        timing: a row for each way of drawing, with its seconds.
        tensors: what was fitted on the way, by the name of its file.
    """

    arrays: Mapping[str, np.ndarray]
    timing: Sequence[Mapping] = ()
    tensors: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)


def together(parts: Iterable[Drawn]) -> Drawn:
    """All that the parts hold; their rows of timing in the order of the parts."""
    parts = list(parts)
    return Drawn(
        {name: array for part in parts for name, array in part.arrays.items()},
        [row for part in parts for row in part.timing],
        {name: tensors for part in parts for name, tensors in part.tensors.items()},
    )
