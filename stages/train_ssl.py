"""Stage `ssl@<variant>`: train the encoders of one SSL variant on augmented views, one encoder per seed."""

import sys
from functools import partial
from pathlib import Path

from triptych.core.schema import Runtime, read
from triptych.data.storage import Dataset
from triptych.machine.processes import run_script
from triptych.ssl.shared.params import SSLParams
from triptych.ssl.shared.recipes import method, recipe
from triptych.training.objective import Objective
from triptych.training.stage import Stage, run_stage


def main(variant: str) -> None:
    """Read params.yaml, train the encoders of `variant`, and write the outputs of the stage."""
    params = read(seed=int, runtime=Runtime, ssl=SSLParams)
    chosen = recipe(params.ssl, variant)
    name = params.ssl.variants[variant].method

    def build(dataset: Dataset) -> tuple[Objective, dict]:
        objective, network = method(name).build(chosen, dataset.train.images.shape[1])
        return objective, {"network": network}

    stage = Stage(
        name=f"ssl/{variant}",
        seed=params.seed,
        runtime=params.runtime,
        training=chosen.training,
        data=Path("data/ssl"),
        identity={"method": name, **chosen.model_dump()},
        build=build,
        seeds=chosen.seeds,
        snapshot_epochs=chosen.snapshot_epochs,
    )
    run_stage(stage)


if __name__ == "__main__":
    run_script(f"ssl/{sys.argv[1]}", partial(main, sys.argv[1]))
