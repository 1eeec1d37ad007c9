"""Stage `evaluate_ssl@<variant>`: every number of one variant, what each test image came to, and its views."""

import sys
from pathlib import Path

from triptych.core.errors import one_line_errors
from triptych.core.machine import machine
from triptych.core.schema import read
from triptych.data.storage import load
from triptych.measures.params import EvaluationParams
from triptych.measures.ssl import Settings, SSLStudy
from triptych.ssl.shared.params import SSLParams
from triptych.core.runtime import Runtime


def main(name: str) -> None:
    """Reads params and models, measures, writes the outputs of the stage."""
    params = read(seed=int, runtime=Runtime, ssl=SSLParams, evaluation=EvaluationParams)
    params.ssl.variant(name)  # says so in one line if there is none
    settings = Settings(params.seed, params.ssl.shared, params.ssl.evaluation, params.evaluation)
    with machine(params.runtime) as place:
        SSLStudy(name, load(Path("data/ssl")), settings, place.device).measure(
            models=Path("models/ssl") / name,
            history=Path("plots/ssl") / f"{name}_training.csv",
            metrics=Path("metrics/ssl") / f"{name}.json",
            results=Path("evaluations/ssl") / name / "results.npz",
        )


if __name__ == "__main__":
    with one_line_errors():
        main(sys.argv[1])
