"""Stage `ssl_baselines`: what classifies the third study's images without training: pixels, and the encoder."""

from pathlib import Path

from triptych.core.errors import one_line_errors
from triptych.core.files import write_arrays, write_json
from triptych.core.schema import Runtime, read
from triptych.data.storage import load
from triptych.machine.device import machine
from triptych.machine.processes import stage_clock
from triptych.measures.accuracy import accuracies
from triptych.measures.estimate import split
from triptych.measures.intervals import Resampling
from triptych.measures.needs import tell_left_out, two_classes
from triptych.measures.params import EvaluationParams
from triptych.ssl.baselines import measure_baselines
from triptych.ssl.measure import ACCURACIES
from triptych.ssl.shared.params import SSLParams


def main() -> None:
    """Reads params and images, measures, writes the outputs of the stage."""
    params = read(seed=int, runtime=Runtime, ssl=SSLParams, evaluation=EvaluationParams)
    shared, settings, dataset = params.ssl.shared, params.evaluation, load("data/ssl")
    classless = two_classes(dataset)
    left_out = dict.fromkeys(ACCURACIES, classless) if classless else {}
    tell_left_out("ssl_baselines", left_out)
    seeds = range(params.seed, params.seed + shared.seeds)
    with machine(params.runtime) as place:
        at_once = place.at_once(2 + len(seeds))
        place = place.shared(at_once)
        hits = measure_baselines(shared.backbone, seeds, dataset, settings, place.device, at_once)
    resampling = Resampling(params.seed, settings.confidence_level, settings.bootstrap, "ssl baselines")
    write_json(Path("metrics/ssl_baselines.json"), split(accuracies(hits, resampling) | left_out))
    write_arrays(Path("evaluations/ssl_baselines/results.npz"), hits)


if __name__ == "__main__":
    with one_line_errors(), stage_clock("ssl_baselines"):
        main()
