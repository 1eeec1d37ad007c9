"""What the claims are decided from: everything that was measured, and how intervals that no file holds are made."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from triptych.report.reader import Results

if TYPE_CHECKING:  # brings scipy, which takes long to import, and the terminal needs the claims' words only
    from triptych.measures.intervals import Resampling


@dataclass(frozen=True)
class Evidence:
    """What a claim may read.

    Attributes:
        results: the run's.
        resampling: for statistics that the claims make themselves.
    """

    results: Results
    resampling: "Resampling"
