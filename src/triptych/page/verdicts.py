"""The verdicts on the report's claims, ready to print."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from triptych.measures.estimate import Estimate
from triptych.report.formatting import POINTS, written, written_interval
from triptych.studies import CLAIMS, METRICS

FORMATS = {claim.id: claim.format for claim in CLAIMS}
OTHER = "#.3g"  # of a claim that has no record
# The words of a number whose name holds that of a metric, as `ddpm_frechet_distance` does.
WITHIN = {key.replace(".", "_"): metric for key, metric in METRICS.items()}
# In the name of a number that is a difference between two of a metric's.
DIFFERENCES = ("difference", "minus", "above", "eased", "at_equal")


@dataclass(frozen=True)
class Verdict:
    """One claim of the report with its verdict; the texts that do not apply are empty.

    Attributes:
        id: the claim's.
        claim: what is claimed, in a sentence.
        says: how the report puts it.
        verdict: reproduced, not reproduced or inconclusive.
        finding: what this run found, and why this verdict.
        statistic: what was measured.
        measured: its value.
        interval: of the value.
        threshold: what the value was held against.
        figures: numbers of the figures that the claim is about.
        evidence: (what, value) of the other numbers that count.
        sources: the files that all these come from.
    """

    id: str
    claim: str
    says: str
    verdict: str
    finding: str
    statistic: str
    measured: str
    interval: str
    threshold: str
    figures: list[int]
    evidence: list[tuple[str, str]]
    sources: list[str]

    @property
    def slug(self) -> str:
        """The verdict as a word of a style sheet."""
        return self.verdict.replace(" ", "-")

    @property
    def seen(self) -> str:
        """The first sentence of the finding."""
        first, _, rest = self.finding.partition(". ")
        return f"{first}." if rest else first


def verdict(record: Mapping) -> Verdict:
    """A record of metrics/claims.json, ready to print."""
    form = FORMATS.get(str(record.get("id")), OTHER)
    measured, interval, threshold = (record.get(key) for key in ("measured", "interval", "threshold"))
    estimate = Estimate(measured, **interval) if measured is not None and interval else None
    return Verdict(
        id=str(record.get("id", "")),
        claim=str(record.get("claim") or record.get("id", "")),
        says=str(record.get("report_says") or ""),
        verdict=str(record["verdict"]),
        finding=str(record.get("finding") or ""),
        statistic=str(record.get("statistic") or "").partition(";")[0],
        measured="" if measured is None else written(measured, form),
        interval=written_interval(estimate, form) if estimate else "",
        threshold="" if threshold is None else written(threshold, form),
        figures=list(record.get("figures") or []),
        evidence=_evidence(record.get("evidence") or {}),
        sources=list(record.get("sources") or []),
    )


def counts(verdicts: Sequence[Verdict]) -> list[tuple[Verdict, int]]:
    """One of each verdict, and how many claims got it."""
    words = [one.verdict for one in verdicts]
    return [(one, words.count(one.verdict)) for one in {one.verdict: one for one in verdicts}.values()]


def _evidence(numbers: Mapping[str, float]) -> list[tuple[str, str]]:
    """What and how much; `<what>_low` and `<what>_high` become the interval of `<what>`."""
    texts = []
    for key, value in numbers.items():
        name, _, end = key.rpartition("_")
        if end in ("low", "high") and name in numbers:
            continue
        if {f"{key}_low", f"{key}_high"} <= numbers.keys():
            value = Estimate(value, numbers[f"{key}_low"], numbers[f"{key}_high"])
        texts.append(_named(key, value))
    return texts


def _named(key: str, value: float | Estimate) -> tuple[str, str]:
    """A number and its name: `ddpm_frechet_distance` is `ddpm Fréchet distance`, in the format of that metric."""
    within = max((name for name in WITHIN if f"_{name}_" in f"_{key}_"), key=len, default="")
    if not within:
        return key.replace("_", " "), written(value)
    metric = WITHIN[within]
    name = key.replace(within, metric.name).replace("_", " ")
    if metric.words:  # of what the file holds as true or false
        return name, written(bool(value))
    is_difference = any(f"_{word}_" in f"_{key}_" for word in DIFFERENCES)
    return name, written(value, POINTS if is_difference and metric.format.endswith("%") else metric.format)
