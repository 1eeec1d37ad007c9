"""Stage `evaluate_classifier`: how good the judge is on the test images."""

from pathlib import Path

import numpy as np

from triptych.core.errors import one_line_errors
from triptych.core.files import write_json
from triptych.core.machine import machine
from triptych.core.runtime import Runtime
from triptych.core.schema import read
from triptych.data.storage import load
from triptych.measures.classifier import judge_quality
from triptych.measures.judge import Judge
from triptych.measures.params import EvaluationParams
from triptych.statistics.estimate import split


def main() -> None:
    """Reads params and the judge, measures, writes the output of the stage."""
    params = read(seed=int, runtime=Runtime, evaluation=EvaluationParams)
    settings = params.evaluation
    with machine(params.runtime) as place:
        test = load("data/generative").test
        judged = Judge.load(Path("models/classifier"), place.device, settings.batch_size)(test.images)
    numbers = judge_quality(judged, np.asarray(test.labels), settings.recognition_threshold, settings.confidence_level)
    write_json("metrics/classifier.json", split(numbers))


if __name__ == "__main__":
    with one_line_errors():
        main()
