"""Stage `ssl_baselines`: what classifies the third study's images without training: pixels, and the encoder."""

import sys
from pathlib import Path

from triptych.core.arrays import write_arrays
from triptych.core.errors import one_line_errors
from triptych.core.files import write_json
from triptych.core.machine import machine
from triptych.core.runtime import Runtime
from triptych.core.schema import read
from triptych.data.storage import load
from triptych.measures.accuracy import accuracies
from triptych.measures.baselines import measure_baselines
from triptych.measures.params import EvaluationParams
from triptych.ssl.shared.params import SSLParams
from triptych.statistics.estimate import split
from triptych.statistics.intervals import Resampling


def main() -> None:
    """Reads params and images, measures, writes the outputs of the stage."""
    params = read(seed=int, runtime=Runtime, ssl=SSLParams, evaluation=EvaluationParams)
    shared, settings, dataset = params.ssl.shared, params.evaluation, load("data/ssl")
    if not dataset.labelled:
        print("ssl_baselines: the images have no labels, so no accuracy is measured", file=sys.stderr)
    seeds = range(params.seed, params.seed + shared.seeds)
    with machine(params.runtime) as place:
        at_once = place.at_once(2 + len(seeds))
        place = place.shared(at_once)
        hits = measure_baselines(shared.backbone, seeds, dataset, settings, place.device, at_once)
    resampling = Resampling(params.seed, settings.confidence_level, settings.bootstrap, "ssl baselines")
    write_json(Path("metrics/ssl_baselines.json"), split(accuracies(hits, resampling)))
    write_arrays(Path("evaluations/ssl_baselines/results.npz"), hits)


if __name__ == "__main__":
    with one_line_errors():
        main()
