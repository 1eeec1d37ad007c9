"""Stage `claims`: a verdict on each sentence of the report, from the numbers of all studies."""

from triptych.core.errors import one_line_errors
from triptych.core.files import write_json
from triptych.core.schema import read
from triptych.machine.processes import stage_clock
from triptych.measures.intervals import Resampling
from triptych.page.decide import counts, decide
from triptych.report.evidence import Evidence
from triptych.report.params import ClaimsParams
from triptych.report.reader import Results


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
