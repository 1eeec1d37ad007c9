"""Stage `classifier`: trains the judge, whose features and predictions evaluate everything generated."""

from pathlib import Path

from triptych.core.errors import InputError, one_line_errors
from triptych.core.runtime import Runtime
from triptych.core.schema import read
from triptych.data.storage import Dataset
from triptych.judge.network import Classifier
from triptych.judge.objective import ClassificationObjective
from triptych.judge.params import ClassifierParams
from triptych.training.stage import run_stage

DATA = Path("data/generative")


def main() -> None:
    """Reads params, trains, writes the outputs of the stage."""
    params = read(seed=int, runtime=Runtime, classifier=ClassifierParams)
    judge = params.classifier

    def build(dataset: Dataset) -> tuple[ClassificationObjective, dict]:
        if not dataset.labelled:
            raise InputError(f"{DATA}: the judge needs labels, and this dataset has none")
        channels = dataset.train.images.shape[1]
        network = {"in_channels": channels, "classes": len(dataset.classes), **judge.network.model_dump()}
        return ClassificationObjective(Classifier(**network), judge.mixup), {"network": network}

    run_stage(
        stage="classifier",
        seed=params.seed,
        runtime=params.runtime,
        recipe=judge.training,
        data=DATA,
        identity=judge.model_dump(),
        build=build,
    )


if __name__ == "__main__":
    with one_line_errors():
        main()
