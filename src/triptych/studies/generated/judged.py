"""What the judge says of an image, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# A judge of images without classes tells by how much one was turned counter-clockwise.
TURNS = ("0°", "90°", "180°", "270°")


@dataclass(frozen=True)
class Reading:
    """What the judge takes an image for.

    Attributes:
        classes: the names of the data's classes; none, or one alone, where the judge learned turns.
        probabilities: of what it chooses among.
    """

    classes: Sequence[str]
    probabilities: np.ndarray

    @property
    def choices(self) -> Sequence[str]:
        """What it chooses among."""
        return self.classes if len(self.classes) > 1 else TURNS

    def sentence(self, where: str = "") -> str:
        """`The judge reads a 7 with a probability of 98%.`; `where` says in what, with a space before it."""
        best = int(self.probabilities.argmax())
        if self.choices is TURNS:
            taken = f"The judge, which learned to tell how an image was turned, finds it turned by {TURNS[best]}"
        else:
            taken = f"The judge reads a {self.classes[best]}"
        return f"{taken}{where} with a probability of {self.probabilities[best]:.0%}."
