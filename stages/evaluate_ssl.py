"""Stage `evaluate_ssl@<variant>`: every number of one variant, the course of its training, and its views."""

import sys
from pathlib import Path

from triptych.core.errors import one_line_errors
from triptych.core.files import read_arrays, write_arrays, write_json, write_text
from triptych.core.schema import Runtime, read
from triptych.data.storage import load
from triptych.machine.device import machine
from triptych.machine.processes import stage_clock
from triptych.measures.estimate import split
from triptych.measures.needs import tell_left_out
from triptych.measures.params import EvaluationParams
from triptych.ssl.baselines import measure_baselines
from triptych.ssl.course import load_history
from triptych.ssl.measure import SSLMeasures
from triptych.ssl.shared.params import SSLParams
from triptych.ssl.shared.recipes import recipe
from triptych.ssl.shared.views import Views


def main(name: str) -> None:
    """Reads params and weights, measures, writes the outputs of the stage."""
    params = read(seed=int, runtime=Runtime, ssl=SSLParams, evaluation=EvaluationParams)
    variant, dataset = recipe(params.ssl, name), load("data/ssl")
    seeds = range(params.seed, params.seed + variant.seeds)
    shared = params.ssl.shared
    history = load_history(Path("plots/ssl") / f"{name}_training.csv")
    with machine(params.runtime) as place:
        at_once = place.at_once(variant.seeds)
        place = place.shared(at_once)
        if variant.backbone == shared.backbone and variant.seeds <= shared.seeds:
            baselines = read_arrays("evaluations/ssl_baselines/results.npz")
        else:
            baselines = measure_baselines(variant.backbone, seeds, dataset, params.evaluation, place.device, at_once)
        measures = SSLMeasures(
            name,
            dataset,
            Views(variant.views),
            params.evaluation,
            params.seed,
            variant.seeds,
            baselines,
            place.device,
            at_once,
        )
        tell_left_out(f"evaluate_ssl@{name}", measures.left_out)
        runs = measures.measure(Path("models/ssl") / name, Path("snapshots/ssl") / name, history)
        write_json(Path("metrics/ssl") / f"{name}.json", split(measures.summary(runs)))
        write_text(Path("plots/ssl") / f"{name}_course.csv", measures.course(runs).to_csv(index=False))
        write_arrays(Path("evaluations/ssl") / name / "results.npz", measures.results(runs))


if __name__ == "__main__":
    with one_line_errors(), stage_clock(f"evaluate_ssl/{sys.argv[1]}"):
        main(sys.argv[1])
