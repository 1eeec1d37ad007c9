"""Stage `classifier`: train the judge, whose features and predictions evaluate everything generated."""

import sys
from pathlib import Path

from triptych.core.errors import one_line_errors
from triptych.core.schema import Runtime, read
from triptych.data.storage import Dataset
from triptych.judge.model import QUARTER_TURNS, ClassificationObjective, Classifier, TurnObjective
from triptych.judge.params import ClassifierParams
from triptych.machine.processes import stage_clock
from triptych.training.stage import Stage, run_stage

DATA = Path("data/generative")


def main() -> None:
    """Read params, train, write the outputs of the stage."""
    params = read(seed=int, runtime=Runtime, classifier=ClassifierParams)
    judge = params.classifier

    def build(dataset: Dataset) -> tuple[ClassificationObjective, dict]:
        channels, classes, kind = dataset.train.images.shape[1], len(dataset.classes), ClassificationObjective
        if classes < 2:
            print(f"{DATA}: no classes to tell apart, so the judge learns how an image was turned", file=sys.stderr)
            classes, kind = QUARTER_TURNS, TurnObjective
        network = {"in_channels": channels, "classes": classes, **judge.network.model_dump()}
        return kind(Classifier(**network), judge.mixup), {"network": network}

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
    with one_line_errors(), stage_clock("classifier"):
        main()
