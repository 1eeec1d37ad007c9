"""All fifteen claims in order, each as the record that metrics/claims.json holds."""

from triptych.studies.claim import VERDICTS, Claim, Ruling
from triptych.studies.ddpm import claims as ddpm
from triptych.studies.evidence import Evidence, UnmeasuredError, ssl_metrics
from triptych.studies.params import ClaimsParams
from triptych.studies.ssl import claims as ssl
from triptych.studies.vae import claims as vae

CLAIMS: tuple[Claim, ...] = (*vae.CLAIMS, *ddpm.CLAIMS, *ssl.CLAIMS)


def decide(evidence: Evidence, limits: ClaimsParams) -> list[dict]:
    """The record of each claim."""
    return [_record(claim, evidence, limits) for claim in CLAIMS]


def _record(claim: Claim, evidence: Evidence, limits: ClaimsParams) -> dict:
    missing = [variant for variant in claim.variants if variant not in evidence.variants]
    ruling = _not_trained(claim, missing) if missing else _ruling(claim, evidence, limits)
    sources = [] if missing else [*claim.sources, *map(ssl_metrics, claim.variants)]
    measured = ruling.measured
    return {
        "id": claim.id,
        "claim": claim.claim,
        "report_says": claim.report_says,
        "figures": list(claim.figures),
        "statistic": claim.statistic,
        "measured": measured.value if measured else None,
        "interval": measured.interval if measured else None,
        "threshold": ruling.threshold,
        "verdict": VERDICTS[ruling.holds],
        "finding": ruling.finding,
        "evidence": ruling.evidence,
        "sources": sources,
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


def counts(records: list[dict]) -> dict[str, int]:
    """How many claims got each verdict; the order is that of VERDICTS."""
    verdicts = [record["verdict"] for record in records]
    return {verdict: verdicts.count(verdict) for verdict in VERDICTS.values()}
