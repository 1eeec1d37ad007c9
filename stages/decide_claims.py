"""Stage `claims`: a verdict on each sentence of the report, from the numbers of all studies."""

from triptych.core.clock import stage_clock
from triptych.core.errors import one_line_errors
from triptych.core.files import write_json
from triptych.core.schema import read
from triptych.results.reader import Results
from triptych.statistics.intervals import Resampling
from triptych.studies.decide import counts, decide
from triptych.studies.evidence import Evidence
from triptych.studies.params import ClaimsParams


def main() -> None:
    """Reads params and numbers, decides, writes the output of the stage."""
    results, limits = Results(), read(claims=ClaimsParams).claims
    seed, level, draws = map(results.param, ("seed", "evaluation.confidence_level", "evaluation.bootstrap"))
    records = decide(Evidence(results, Resampling(seed, level, draws, owner="claims")), limits)
    write_json("metrics/claims.json", records)
    print(f"claims: {', '.join(f'{count} {verdict}' for verdict, count in counts(records).items())}")


if __name__ == "__main__":
    with one_line_errors(), stage_clock("claims"):
        main()
