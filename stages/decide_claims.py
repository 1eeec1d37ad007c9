"""Stage `claims`: decide from the results of all studies whether each claim of the report holds."""

from collections import Counter

from triptych.core.files import write_json
from triptych.core.schema import read
from triptych.machine.processes import run_script
from triptych.measures.intervals import Resampling
from triptych.report.claims import Evidence, decide
from triptych.report.params import ClaimsParams
from triptych.report.reader import Results
from triptych.studies import CLAIMS, figures


def main() -> None:
    """Decide all claims and write metrics/claims.json."""
    results = Results()
    seed, level, draws = map(results.param, ("seed", "evaluation.confidence_level", "evaluation.bootstrap"))
    evidence = Evidence(results, Resampling(seed, level, draws, owner="claims"), read(claims=ClaimsParams).claims)
    records = decide(evidence, CLAIMS, figures())
    write_json("metrics/claims.json", records)
    counts = Counter(record["verdict"] for record in records)
    print(f"claims: {', '.join(f'{count} {verdict}' for verdict, count in counts.items())}")


if __name__ == "__main__":
    run_script("claims", main)
