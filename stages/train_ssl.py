"""Stage `ssl@<variant>`: train an encoder by comparing views, once per seed."""

import sys
from pathlib import Path

from triptych.core.errors import one_line_errors
from triptych.core.schema import Runtime, read
from triptych.data.storage import Dataset
from triptych.machine.processes import stage_clock
from triptych.ssl.shared.params import SSLParams
from triptych.ssl.shared.recipes import method, recipe
from triptych.training.objective import Objective
from triptych.training.stage import Stage, run_stage


def main(variant: str) -> None:
    """Read params, train, write the outputs of the stage."""
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
    with one_line_errors(), stage_clock(f"ssl/{sys.argv[1]}"):
        main(sys.argv[1])
