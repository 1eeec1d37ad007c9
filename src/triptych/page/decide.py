"""All claims in order, each as the record that metrics/claims.json holds."""

from fnmatch import fnmatch

from triptych.measures.estimate import Estimate
from triptych.report.evidence import Evidence
from triptych.report.params import ClaimsParams
from triptych.report.reader import UnmeasuredError
from triptych.report.record import Claim
from triptych.report.ruling import VERDICTS, Ruling
from triptych.ssl.words.variants import metrics_path, variants
from triptych.studies import CLAIMS, figures


def decide(evidence: Evidence, limits: ClaimsParams) -> list[dict]:
    """The record of each claim.

    Raises:
        InputError: a file that a claim is decided from is missing or damaged.
    """
    return [_record(claim, evidence, limits) for claim in CLAIMS]


def figures_of(claim: Claim) -> list[int]:
    """The numbers of the figures that show a claim, in their order."""
    found = {entry.number for entry in figures() for pattern in claim.figures if fnmatch(entry.slug, pattern)}
    return sorted(found)


def counts(records: list[dict]) -> dict[str, int]:
    """How many claims got each verdict; the order is that of VERDICTS."""
    verdicts = [record["verdict"] for record in records]
    return {verdict: verdicts.count(verdict) for verdict in VERDICTS.values()}


def _record(claim: Claim, evidence: Evidence, limits: ClaimsParams) -> dict:
    trained = variants(evidence.results.params)
    missing = [variant for variant in claim.variants if variant not in trained]
    ruling = _not_trained(claim, missing) if missing else _ruling(claim, evidence, limits)
    measured = ruling.measured
    return {
        "id": claim.id,
        "claim": claim.claim,
        "report_says": claim.report_says,
        "figures": figures_of(claim),
        "statistic": claim.statistic,
        "measured": measured.value if isinstance(measured, Estimate) else measured,
        "interval": measured.interval if isinstance(measured, Estimate) else None,
        "threshold": ruling.threshold,
        "verdict": VERDICTS[ruling.holds],
        "finding": ruling.finding,
        "evidence": ruling.evidence,
        "sources": [] if missing else [*claim.sources, *map(metrics_path, claim.variants)],
    }


def _ruling(claim: Claim, evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """What the claim's own rule says; or, where a number that it needs is missing, which."""
    try:
        return claim.decide(evidence, limits)
    except UnmeasuredError as gap:
        return _open(claim, str(gap))


def _not_trained(claim: Claim, missing: list[str]) -> Ruling:
    return _open(claim, f"this run has trained no {' and no '.join(missing)}, as ssl.variants in params.yaml has none")


def _open(claim: Claim, reason: str) -> Ruling:
    return Ruling(None, None, None, f"Not measured: {reason}. What would decide it: {claim.statistic}.")
