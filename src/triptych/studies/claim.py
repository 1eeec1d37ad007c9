"""What a claim is, and how its verdict follows from estimates with intervals: a threshold inside one decides nothing.

A condition is True, False or None (open), and conditions combine by Kleene's three-valued logic.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from triptych.studies.evidence import Estimate, Evidence, UnmeasuredError
from triptych.studies.params import ClaimsParams

REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "reproduced", "not reproduced", "inconclusive"
VERDICTS = {True: REPRODUCED, False: NOT_REPRODUCED, None: INCONCLUSIVE}
ANSWERS = {True: "Yes", False: "No", None: "Open"}

Condition = bool | None


@dataclass(frozen=True)
class Ruling:
    """What became of a claim.

    Attributes:
        holds: whether the claim does; None where this run cannot say.
        measured: the deciding statistic with its interval; None where nothing could be measured.
        threshold: the number that it was held against.
        finding: what was seen and why this verdict, in plain sentences.
        evidence: the other numbers leaned on.
    """

    holds: Condition
    measured: Estimate | None
    threshold: float | None
    finding: str
    evidence: dict[str, float] = field(default_factory=dict)


def no_rule(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """For claims whose methods are not part of the pipeline yet."""
    raise UnmeasuredError("no rule compares its variants yet")


@dataclass(frozen=True)
class Claim:
    """A sentence of the report.

    Attributes:
        id: its short name.
        claim: the claim as one sentence.
        report_says: what the report says or shows.
        figures: the report's own numbers of the figures that show it.
        statistic: what number decides, in words.
        sources: the files that it is decided from, beside those of its variants.
        variants: the entries of ssl.variants that it compares.
        decide: from evidence and thresholds to a ruling; raises UnmeasuredError where a number is missing.
    """

    id: str
    claim: str
    report_says: str
    figures: tuple[int, ...]
    statistic: str
    sources: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    decide: Callable[[Evidence, ClaimsParams], Ruling] = no_rule


def every(*conditions: Condition) -> Condition:
    """True if all are, False if any is, else open."""
    if False in conditions:
        return False
    return None if None in conditions else True


def unanimous(*conditions: Condition) -> Condition:
    """True if all are, False if none is, else open."""
    return conditions[0] if len(set(conditions)) == 1 else None


def finding(seen: str, asked: Mapping[str, Condition], holds: Condition, would_decide: str) -> str:
    """What was seen, the answer to each question, and where they leave the claim open what would decide it."""
    answers = [f"{question}? {ANSWERS[answer]}." for question, answer in asked.items()]
    return " ".join([seen, *answers, *([would_decide] if holds is None else [])])


# Numbers as people read them ------------------------------------------------------------------------------------------


def plain(value: float) -> str:
    """`0.92`, `−0.99`, `12.3`: three digits or more."""
    digits = 2 if abs(value) < 10 else 1
    return f"{value:.{digits}f}".replace("-", "−")


def percent(value: float) -> str:
    """`38.2 %`, without a line break inside."""
    return f"{100 * value:.1f}\u00a0%"


def points(value: float) -> str:
    """`−28.4 points`: a difference of percentages."""
    return f"{100 * value:+.1f} points".replace("-", "−")


def limit(threshold: float) -> str:
    """`0.8`, `−0.95`: a threshold as params.yaml has it."""
    return f"{threshold:g}".replace("-", "−")


def percent_limit(threshold: float) -> str:
    """`50 %`."""
    return f"{100 * threshold:g}\u00a0%"


def points_limit(threshold: float) -> str:
    """`5 points`, `1 point`."""
    return f"{100 * threshold:g} point{'' if threshold == 0.01 else 's'}"


def shown(estimate: Estimate, form: Callable[[float], str]) -> str:
    """`38.2 % (35.2 to 42.3 %)`."""
    value, low, high = (form(number) for number in (estimate.value, estimate.low, estimate.high))
    for unit in ("\u00a0%", " points"):
        low = low.removesuffix(unit)
    return f"{value} ({low} to {high})"
