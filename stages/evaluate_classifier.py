"""Stage `evaluate_classifier`: measure the judge on the test images."""

from pathlib import Path

from triptych.core.errors import one_line_errors
from triptych.core.schema import Runtime, read
from triptych.data.storage import load
from triptych.judge.measure import Judge, judge_quality
from triptych.machine.device import machine
from triptych.machine.processes import stage_clock
from triptych.measures.estimate import write_metrics
from triptych.measures.params import EvaluationParams


def main() -> None:
    """Read params and the judge, measure, and write the output of the stage."""
    params = read(seed=int, runtime=Runtime, evaluation=EvaluationParams)
    settings = params.evaluation
    with machine(params.runtime) as place:
        dataset = load("data/generative")
        judged = Judge.load(Path("models/classifier"), place.device, settings.batch_size)(dataset.test.images)
    numbers = judge_quality(judged, dataset, settings.recognition_threshold, settings.confidence_level)
    write_metrics("metrics/classifier.json", numbers)


if __name__ == "__main__":
    with one_line_errors(), stage_clock("evaluate_classifier"):
        main()
