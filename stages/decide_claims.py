"""Stage `claims`: a verdict on each sentence of the report, from the numbers of all studies."""

from triptych.errors import one_line_errors
from triptych.evaluation.claims.decide import counts, decide
from triptych.evaluation.claims.evidence import Resampling, read_evidence
from triptych.files import write_json
from triptych.params.base import read
from triptych.params.claims import ClaimsParams
from triptych.params.evaluation import EvaluationParams
from triptych.params.ssl import SSLParams


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
