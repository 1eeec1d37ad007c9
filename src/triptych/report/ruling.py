"""How a verdict follows from estimates with intervals: a threshold inside an interval decides nothing.

A condition is True, False or None (open), and conditions combine by Kleene's three-valued logic.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from triptych.measures.estimate import Estimate

REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "reproduced", "not reproduced", "inconclusive"
VERDICTS = {True: REPRODUCED, False: NOT_REPRODUCED, None: INCONCLUSIVE}
ANSWERS = {True: "met", False: "not met", None: "undecided"}

Condition = bool | None


@dataclass(frozen=True)
class Ruling:
    """What became of a claim.

    Attributes:
        holds: whether the claim does; None where this run cannot say.
        measured: the deciding statistic, an estimate where it has an interval; None where nothing could be measured.
        threshold: the number that it was held against.
        finding: what was seen and why this verdict, in plain sentences.
        evidence: the other numbers leaned on.
    """

    holds: Condition
    measured: Estimate | float | None
    threshold: float | None
    finding: str
    evidence: dict[str, float] = field(default_factory=dict)


def every(*conditions: Condition) -> Condition:
    """True if all are, False if any is, else open."""
    if False in conditions:
        return False
    return None if None in conditions else True


def unanimous(*conditions: Condition) -> Condition:
    """True if all are, False if none is, else open."""
    return conditions[0] if len(set(conditions)) == 1 else None


def finding(seen: str, asked: Mapping[str, Condition], holds: Condition, would_decide: str) -> str:
    """What was seen, whether each condition is met, and where they leave the claim open what would decide it."""
    answers = [f"{condition}: {ANSWERS[answer]}." for condition, answer in asked.items()]
    return " ".join([seen, *answers, *([would_decide] if holds is None else [])])
