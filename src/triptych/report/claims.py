"""Decide whether measured numbers support the claims of the original report.

A claim has one or more conditions. A condition compares a number with a threshold. Possible answers are met, not met
and undecided. "Undecided" usually means that the confidence interval contains the threshold. Each study lists its
claims in a file claims.yaml.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from triptych.core.schema import read_yaml
from triptych.measures.estimate import Estimate
from triptych.report.formatting import POINTS, written, written_limit
from triptych.report.reader import Results, UnmeasuredError

if TYPE_CHECKING:  # imports scipy, which is slow; the terminal only needs the texts of claims
    from triptych.measures.intervals import Resampling
    from triptych.report.params import ClaimsParams
    from triptych.report.record import Figure

Answer = bool | None
VERDICTS: dict[Answer, str] = {True: "reproduced", False: "not reproduced", None: "inconclusive"}
PARTLY, NOT_MEASURED = "partly reproduced", "not measured"
ANSWERS: dict[Answer, str] = {True: "met", False: "not met", None: "undecided"}
ONE_SEED = 1


@dataclass(frozen=True)
class Evidence:
    """Inputs for deciding claims: result files, settings of confidence intervals, and thresholds."""

    results: Results
    resampling: Resampling
    thresholds: ClaimsParams

    def threshold(self, key: str | float) -> float:
        """Return `key` if it is a number, or else the threshold `claims.<key>`. A leading `-` negates the threshold."""
        if not isinstance(key, str):
            return key
        value = reduce(getattr, key.removeprefix("-").split("."), self.thresholds)
        return -value if key.startswith("-") else value


Measure = Callable[[Evidence], Estimate | float]  # computes one number of a claim


@dataclass(frozen=True, eq=False)
class OverSeeds(Estimate):
    """Mean of the array `values` (seeds, images), with a confidence interval at the confidence level `level`."""

    values: np.ndarray  # (seeds, images)
    level: float  # confidence level

    @property
    def shown(self) -> Estimate:
        """The mean with the range over seeds if there are two seeds, or else the mean with the confidence interval."""
        from triptych.measures.intervals import over_two_seeds

        return over_two_seeds(self.values) or self

    def seeds_to_exclude(self, *thresholds: float) -> int | None:
        """Return how many seeds the interval needs to exclude all thresholds, or None if more would not help."""
        from triptych.measures.power import seeds_to_exclude

        needed = [seeds_to_exclude(self.values, threshold, self.level) for threshold in thresholds]
        return None if None in needed else max(needed)


def number(file: str, key: str) -> Measure:
    """Return a function that reads the number at `key` in metrics/<file>.json, with its confidence interval."""
    return lambda evidence: evidence.results.metrics(file).estimate(key)


def value(file: str, key: str) -> Measure:
    """Return a function that reads the number at `key` in metrics/<file>.json, without a confidence interval."""
    return lambda evidence: evidence.results.metrics(file).number(key)


def threshold(key: str) -> Measure:
    """Return a function that reads the threshold `claims.<key>` of params.yaml."""
    return lambda evidence: evidence.threshold(key)


def difference(one: Measure, other: Measure) -> Measure:
    """Return a function that computes `one` minus `other` with a confidence interval, assuming independent samples."""

    def measure(evidence: Evidence) -> Estimate:
        from triptych.measures import intervals

        return intervals.difference(one(evidence), other(evidence))

    return measure


@dataclass(frozen=True)
class Condition:
    """Comparison of one measured number with one threshold, as part of a claim."""

    id: str  # unique in the claim
    statement: str  # without full stop; {threshold} and {size} are the threshold with and without its sign
    measure: Callable[[Evidence], Estimate]
    direction: Literal["above", "below", "within"]  # within: closer to zero than the threshold
    threshold: str | float  # a number, or a key for `Evidence.threshold`
    format: str  # for the number and the threshold, see `formatting.written`
    chance: Measure | float | None = (
        None  # the number's value if the statement is false; for differences in points, zero
    )
    chance_is: str = "no difference"  # names this value, such as "untrained encoder"
    no_difference: str = ""  # key of a margin; not met if the whole interval is within this margin of zero
    refutable: bool = True  # if False, the condition is undecided instead of not met

    def outcome(self, evidence: Evidence) -> Outcome:
        """Measure the number and compare it with the threshold. If it is missing, the outcome states the reason."""
        threshold, margin = evidence.threshold(self.threshold), evidence.threshold(self.no_difference or 0.0)
        try:
            estimate, chance = self.measure(evidence), self._chance(evidence)
        except UnmeasuredError as gap:
            return Outcome(self, threshold, margin, None, None, gap=str(gap))
        answer = getattr(estimate, self.direction)(threshold)
        if answer is None and margin and estimate.within(margin):
            answer = False
        if answer is False and not self.refutable:
            answer = None
        return Outcome(self, threshold, margin, estimate, answer, chance)

    def _chance(self, evidence: Evidence) -> float | None:
        if self.chance is None:
            return 0.0 if self.format == POINTS else None
        value = self.chance(evidence) if callable(self.chance) else self.chance
        return value.value if isinstance(value, Estimate) else float(value)


@dataclass(frozen=True)
class Outcome:
    """Result of checking a condition: the measured number and the answer, or the reason why the number is missing."""

    condition: Condition
    threshold: float
    margin: float  # value of `no_difference`
    estimate: Estimate | None
    answer: Answer
    chance: float | None = None  # value of `Condition.chance`
    gap: str = ""  # reason why the number is missing

    def record(self) -> dict:
        """Return the outcome as a dict for metrics/claims.json."""
        return {
            "id": self.condition.id,
            "statement": f"{self._statement}.",
            "measured": self.estimate.value if self.estimate else None,
            **_bounds(self.estimate),
            "threshold": self.threshold,
            "null": None if self.chance is None else {"name": self.condition.chance_is, "value": self.chance},
            "verdict": NOT_MEASURED if self.estimate is None else VERDICTS[self.answer],
        }

    def sentence(self) -> str:
        """Return one sentence with the statement of the condition, the answer and the measured number."""
        return f"{self._statement}: {ANSWERS[self.answer]}, at {written(self.estimate.shown, self.condition.format)}."

    def seeds_needed(self) -> int | None:
        """Return the number of training seeds that would probably decide the condition.

        Return None if more seeds would not help, and ONE_SEED if one measured seed is too few for an estimate.
        """
        if not isinstance(self.estimate, OverSeeds):
            return None
        if len(self.estimate.values) < 2:
            return ONE_SEED
        ways = [self.estimate.seeds_to_exclude(self.threshold)]
        if abs(self.estimate.value) < self.margin:
            ways.append(self.estimate.seeds_to_exclude(-self.margin, self.margin))
        return min((way for way in ways if way is not None), default=None)

    @property
    def _statement(self) -> str:
        form = self.condition.format
        return self.condition.statement.format(
            threshold=written_limit(self.threshold, form), size=written_limit(abs(self.threshold), form)
        )


def claim_verdict(answers: Sequence[Answer]) -> str:
    """Return the verdict on a claim. Each answer is True (met), False (not met) or None (undecided).

    The verdict is "reproduced" if all answers are True, and "partly reproduced" if some are. If no answer is True, the
    verdict is "inconclusive" if any answer is None, and "not reproduced" if all are False.
    """
    if True in answers:
        return VERDICTS[True] if all(answers) else PARTLY
    return VERDICTS[None if None in answers else False]


@dataclass(frozen=True)
class Fact:
    """Additional number that is reported with a claim and does not affect the verdict."""

    key: str  # in `evidence`; the bounds of its interval have the keys `<key>_low` and `<key>_high`
    measure: Measure
    format: str  # see `formatting.written`
    name: str = ""

    @property
    def title(self) -> str:
        return self.name or self.key.replace("_", " ")

    def flat(self, evidence: Evidence) -> dict[str, float]:
        """Return the number and any interval bounds in a dict, with keys such as `mean`, `mean_low` and `mean_high`."""
        value = self.measure(evidence)
        return value.flat(self.key) if isinstance(value, Estimate) else {self.key: value}


@dataclass(frozen=True)
class Claim:
    """Statement of the original report, with conditions that decide whether this project reproduces it."""

    id: str
    claim: str
    report_says: str  # statement or figure of the report
    statistic: str  # names the claim's number; the page omits what follows a ";" (numbers of further conditions)
    conditions: tuple[Condition, ...]
    figures: Sequence[str]  # slugs, with shell-style wildcards
    facts: tuple[Fact, ...] = ()
    would_decide: str = ""  # a sentence on undecided conditions; by default, on the number of seeds
    # The report measured it, only argued for it, or does not have it.
    kind: Literal["result", "argument", "beyond"] = "result"
    headline: Callable[[Evidence], Estimate] | None = None  # number of the claim, if not that of the first condition

    @property
    def format(self) -> str:
        return self.conditions[0].format

    def numbers(self, figures: Sequence[Figure]) -> list[int]:
        """Select the figures that illustrate the claim, and return their figure numbers in ascending order."""
        return sorted({one.number for one in figures for pattern in self.figures if fnmatch(one.slug, pattern)})

    def record(self, evidence: Evidence, figures: Sequence[Figure]) -> dict:
        """Decide the claim and return a dict for metrics/claims.json. `figures` contains the figures of all studies."""
        evidence.results.opened.clear()
        outcomes = [condition.outcome(evidence) for condition in self.conditions]
        reasons = list(dict.fromkeys(outcome.gap for outcome in outcomes if outcome.gap))
        measured, numbers = None, {}
        if not reasons:
            try:
                measured = self.headline(evidence) if self.headline else outcomes[0].estimate
                numbers = {key: value for fact in self.facts for key, value in fact.flat(evidence).items()}
            except UnmeasuredError as gap:
                measured, reasons = None, [str(gap)]
        open_text = ""
        if reasons:
            more = "; more numbers are missing" if len(reasons) > 2 else ""
            verdict, text = NOT_MEASURED, f"Not measured: {'; '.join(reasons[:2])}{more}."
        else:
            verdict = claim_verdict([outcome.answer for outcome in outcomes])
            text = " ".join(outcome.sentence() for outcome in outcomes)
            if any(outcome.answer is None for outcome in outcomes):
                needed = _seeds_needed(outcomes)
                open_text = self.would_decide or _seeds_in_words(needed)
                numbers |= {"seeds_that_would_decide": needed} if needed not in (None, ONE_SEED) else {}
        return {
            "id": self.id,
            "claim": self.claim,
            "report_says": self.report_says,
            "kind": self.kind,
            "figures": self.numbers(figures),
            "statistic": self.statistic,
            "measured": measured.value if measured else None,
            **_bounds(measured),
            "threshold": outcomes[0].threshold if measured else None,
            "verdict": verdict,
            "finding": text,
            "would_decide": open_text,
            "conditions": [outcome.record() for outcome in outcomes],
            "evidence": numbers,
            "sources": [path for path in evidence.results.opened if path != "params.yaml"] if measured else [],
        }


def read_claims(path: Path, *functions: Callable) -> tuple[Claim, ...]:
    """Read claims from a YAML file that maps the id of each claim to the fields of a `Claim`.

    `{number: [vae, sharpness]}` in the file calls `number("vae", "sharpness")`. The file can call `number`, `value`,
    `threshold`, `difference` and the given `functions`. `below: 0.5` in a condition sets the direction and the
    threshold. An item with a single key in `conditions` or `facts` calls a function that returns several items.
    """
    by_name = {function.__name__: function for function in (number, value, threshold, difference, *functions)}

    def called(expression: object) -> object:
        if not isinstance(expression, dict):
            return expression
        [(name, arguments)] = expression.items()
        return by_name[name](*map(called, arguments if isinstance(arguments, list) else [arguments]))

    def read(record: type, entries: Sequence[dict]) -> Iterator[Condition | Fact]:
        for entry in entries:
            if len(entry) == 1:
                yield from called(entry)
                continue
            fields = entry | {key: called(entry[key]) for key in ("measure", "chance") if key in entry}
            for direction in entry.keys() & {"above", "below", "within"}:
                fields |= {"direction": direction, "threshold": fields.pop(direction)}
            yield record(**fields)

    claims = []
    for name, entry in read_yaml(path).items():
        conditions, facts = read(Condition, entry["conditions"]), read(Fact, entry.get("facts", []))
        fields = entry | {"conditions": tuple(conditions), "facts": tuple(facts)}
        claims.append(Claim(name, **fields | {"headline": called(entry.get("headline"))}))
    return tuple(claims)


def decide(evidence: Evidence, claims: Sequence[Claim], figures: Sequence[Figure]) -> list[dict]:
    """Decide each claim and return one dict per claim. Raises InputError if a result file is missing or damaged."""
    return [claim.record(evidence, figures) for claim in claims]


def _bounds(estimate: Estimate | None) -> dict:
    bounds = {"interval": None, "range": None}
    if estimate is not None:
        bounds["interval" if estimate.shown.is_interval else "range"] = estimate.shown.interval
    return bounds


def _seeds_needed(outcomes: Sequence[Outcome]) -> int | None:
    needed = [outcome.seeds_needed() for outcome in outcomes if outcome.answer is None]
    return None if None in needed else max(needed, default=None)


def _seeds_in_words(needed: int | None) -> str:
    if needed is None:
        return "More seeds would not help: they disagree, or the number is too close to its threshold for these images."
    if needed == ONE_SEED:
        return "How many seeds would decide it cannot be estimated from one seed."
    return (
        f"About {needed:,} seeds would decide it in four of five repetitions, if the difference and its spread over "
        "seeds are as measured here."
    )
