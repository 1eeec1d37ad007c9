"""Stage `classifier`: train the judge (the classifier that rates generated images)."""

import sys
from pathlib import Path

from triptych.core.schema import Runtime, read
from triptych.data.storage import Dataset
from triptych.judge.model import QUARTER_TURNS, ClassificationObjective, Classifier, TurnObjective
from triptych.judge.params import ClassifierParams
from triptych.machine.processes import run_script
from triptych.training.stage import Stage, run_stage

DATA = Path("data/generative")


def main() -> None:
    """Read params.yaml, train the classifier, and write the outputs of the stage."""
    params = read(seed=int, runtime=Runtime, classifier=ClassifierParams)
    judge = params.classifier

    def build(dataset: Dataset) -> tuple[ClassificationObjective, dict]:
        channels, classes, objective = dataset.train.images.shape[1], len(dataset.classes), ClassificationObjective
        if classes < 2:
            print(f"{DATA}: fewer than two classes; the judge learns to predict rotations instead", file=sys.stderr)
            classes, objective = QUARTER_TURNS, TurnObjective
        network = {"in_channels": channels, "classes": classes, **judge.network.model_dump()}
        return objective(Classifier(**network), judge.mixup), {"network": network}

    stage = Stage(
        name="classifier",
        seed=params.seed,
        runtime=params.runtime,
        training=judge.training,
        data=DATA,
        identity=judge.model_dump(),
        build=build,
    )
    run_stage(stage)


if __name__ == "__main__":
    run_script("classifier", main)
