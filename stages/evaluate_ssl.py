"""Stage `evaluate_ssl@<variant>`: compute the metrics of the encoders and training snapshots of one variant."""

import sys
from functools import partial
from pathlib import Path

from triptych.core.files import read_arrays, write_arrays, write_text
from triptych.core.schema import Runtime, read
from triptych.data.storage import load
from triptych.machine.device import machine
from triptych.machine.processes import run_script
from triptych.measures.estimate import write_metrics
from triptych.measures.params import EvaluationParams
from triptych.ssl.measure import SSLMeasures, final_losses
from triptych.ssl.probe import BASELINES, measure_baselines
from triptych.ssl.shared.params import SSLParams
from triptych.ssl.shared.recipes import recipe
from triptych.ssl.shared.views import Views


def main(variant: str) -> None:
    """Measure the encoders and the training snapshots of `variant`, and write metrics, a table and arrays."""
    params = read(seed=int, runtime=Runtime, ssl=SSLParams, evaluation=EvaluationParams)
    chosen, shared, dataset = recipe(params.ssl, variant), params.ssl.shared, load("data/ssl")
    losses = final_losses(Path(f"plots/ssl/{variant}_training.csv"))
    seeds = range(params.seed, params.seed + chosen.seeds)
    with machine(params.runtime) as here:
        at_once = here.at_once(chosen.seeds)
        if chosen.backbone == shared.backbone and chosen.seeds <= shared.seeds:
            arrays = read_arrays("evaluations/ssl_baselines/results.npz")
            baselines = {name: arrays[f"{name}_correct"] for name in BASELINES if f"{name}_correct" in arrays}
        else:
            baselines = measure_baselines(chosen.backbone, seeds, dataset, params.evaluation, here.device, at_once)
        measures = SSLMeasures(
            variant=variant,
            dataset=dataset,
            views=Views(chosen.views),
            settings=params.evaluation,
            seeds=seeds,
            baselines=baselines,
            device=here.device,
            at_once=at_once,
        )
        results = measures.measure(Path("models/ssl") / variant, Path("snapshots/ssl") / variant, losses)
        write_metrics(f"metrics/ssl/{variant}.json", measures.summary(results))
        write_text(f"plots/ssl/{variant}_course.csv", measures.course(results).to_csv(index=False))
        write_arrays(f"evaluations/ssl/{variant}/results.npz", measures.arrays(results))


if __name__ == "__main__":
    run_script(f"evaluate_ssl/{sys.argv[1]}", partial(main, sys.argv[1]))
