"""Stage `evaluate_classifier`: compute the metrics of the judge (the classifier that rates generated images)."""

from pathlib import Path

from triptych.core.schema import Runtime, read
from triptych.data.storage import load
from triptych.judge.measure import Judge, judge_quality
from triptych.machine.device import machine
from triptych.machine.processes import run_script
from triptych.measures.estimate import write_metrics
from triptych.measures.params import EvaluationParams


def main() -> None:
    """Compute the metrics of the judge on the test images, and write metrics/classifier.json."""
    params = read(seed=int, runtime=Runtime, evaluation=EvaluationParams)
    settings = params.evaluation
    with machine(params.runtime) as here:
        dataset = load("data/generative")
        judged = Judge.load(Path("models/classifier"), here.device, settings.batch_size)(dataset.test.images)
    numbers = judge_quality(judged, dataset, settings.recognition_threshold, settings.confidence_level)
    write_metrics("metrics/classifier.json", numbers)


if __name__ == "__main__":
    run_script("evaluate_classifier", main)
