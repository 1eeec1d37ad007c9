"""Stage `ssl_baselines`: compute the baseline accuracies of raw pixels and of untrained encoders in the SSL study."""

from triptych.core.files import write_arrays
from triptych.core.schema import Runtime, read
from triptych.data.storage import load
from triptych.machine.device import machine
from triptych.machine.processes import run_script
from triptych.measures.estimate import write_metrics
from triptych.measures.intervals import Resampling
from triptych.measures.needs import two_classes
from triptych.measures.params import EvaluationParams
from triptych.ssl.probe import BASELINES, measure_baselines
from triptych.ssl.shared.params import SSLParams


def main() -> None:
    """Measure the baselines, and write their accuracies and masks that mark the correctly classified test images."""
    params = read(seed=int, runtime=Runtime, ssl=SSLParams, evaluation=EvaluationParams)
    shared, settings, dataset = params.ssl.shared, params.evaluation, load("data/ssl")
    reason = two_classes(dataset)
    left_out = {f"{name}_accuracy": reason for name in BASELINES} if reason else {}
    seeds = range(params.seed, params.seed + shared.seeds)
    with machine(params.runtime) as here:
        at_once = here.at_once(2 + len(seeds))
        correct = measure_baselines(shared.backbone, seeds, dataset, settings, here.device, at_once)
    resampling = Resampling(params.seed, settings.confidence_level, settings.bootstrap, "ssl baselines")
    write_metrics("metrics/ssl_baselines.json", resampling.accuracies(correct) | left_out)
    write_arrays("evaluations/ssl_baselines/results.npz", {f"{name}_correct": rows for name, rows in correct.items()})


if __name__ == "__main__":
    run_script("ssl_baselines", main)
