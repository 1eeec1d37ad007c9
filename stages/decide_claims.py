"""Stage `claims`: a verdict on each sentence of the report, from the numbers of all studies."""

from triptych.core.errors import one_line_errors
from triptych.core.files import write_json
from triptych.core.schema import read
from triptych.measures.params import EvaluationParams
from triptych.ssl.shared.params import SSLParams
from triptych.studies.decide import counts, decide
from triptych.studies.evidence import Resampling, read_evidence
from triptych.studies.params import ClaimsParams


def main() -> None:
    """Reads params and numbers, decides, writes the output of the stage."""
    params = read(seed=int, claims=ClaimsParams, evaluation=EvaluationParams, ssl=SSLParams)
    resampling = Resampling(params.seed, params.evaluation.confidence_level, params.evaluation.bootstrap)
    records = decide(read_evidence(params.ssl.variants, resampling), params.claims)
    write_json("metrics/claims.json", records)
    print(f"claims: {', '.join(f'{count} {verdict}' for verdict, count in counts(records).items())}")


if __name__ == "__main__":
    with one_line_errors():
        main()
