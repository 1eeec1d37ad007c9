"""Stage `classifier`: trains the judge, whose features and predictions evaluate everything generated."""

from pathlib import Path

import numpy as np

from triptych.core.errors import InputError, one_line_errors
from triptych.core.files import write_json
from triptych.core.machine import Machine
from triptych.core.schema import read
from triptych.data.storage import Dataset
from triptych.judge.network import Classifier
from triptych.judge.objective import ClassificationObjective
from triptych.judge.params import ClassifierParams
from triptych.measures.judge import Judge
from triptych.measures.params import EvaluationParams
from triptych.statistics.intervals import proportion_interval
from triptych.training.loop import Trained
from triptych.core.runtime import Runtime
from triptych.training.stage import run_stage

DATA = Path("data/generative")


def main() -> None:
    """Reads params, trains, measures the accuracy, writes the outputs of the stage."""
    params = read(seed=int, runtime=Runtime, classifier=ClassifierParams, evaluation=EvaluationParams)
    study, evaluation = params.classifier, params.evaluation

    def build(dataset: Dataset) -> tuple[ClassificationObjective, dict]:
        if not dataset.labelled:
            raise InputError(f"{DATA}: the judge needs labels, and this dataset has none")
        channels = dataset.train.images.shape[1]
        network = {"in_channels": channels, "classes": len(dataset.classes), **study.network.model_dump()}
        return ClassificationObjective(Classifier(**network), study.mixup), network

    def finish(trained: Trained, dataset: Dataset, place: Machine) -> None:
        verdicts = Judge(trained.network, place.device, evaluation.batch_size)(dataset.test.images)
        right = verdicts.classes() == np.asarray(dataset.test.labels)
        recognised = verdicts.recognised(evaluation.recognition_threshold)
        write_json(
            "metrics/classifier.json",
            {
                "test_accuracy": float(right.mean()),
                "test_recognisability": float(recognised.mean()),
                "intervals": {
                    "test_accuracy": proportion_interval(right, evaluation.confidence_level),
                    "test_recognisability": proportion_interval(recognised, evaluation.confidence_level),
                },
            },
        )

    run_stage(
        stage="classifier",
        seed=params.seed,
        runtime=params.runtime,
        recipe=study.training,
        data=DATA,
        identity=study.model_dump(),
        build=build,
        finish=finish,
    )


if __name__ == "__main__":
    with one_line_errors():
        main()
