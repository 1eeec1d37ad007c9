"""Stage `ssl@<variant>`: trains an encoder by comparing views, once for each seed."""

import sys
from pathlib import Path

from triptych.core.errors import one_line_errors
from triptych.core.schema import read
from triptych.data.storage import Dataset
from triptych.measures.representation import watched_epochs, watcher
from triptych.ssl.methods.simsiam import SimSiam
from triptych.ssl.shared.build import network_sizes, ssl_method
from triptych.ssl.shared.network import SiameseNetwork
from triptych.ssl.shared.params import SSLParams
from triptych.core.runtime import Runtime
from triptych.training.stage import Watch, run_stage


def main(name: str) -> None:
    """Reads params, trains, writes the outputs of the stage."""
    params = read(seed=int, runtime=Runtime, ssl=SSLParams)
    study = params.ssl
    shared, variant, method = study.shared, study.variant(name), study.method(name)

    def build(dataset: Dataset) -> tuple[SimSiam, dict]:
        network = network_sizes(study, name, dataset.train.images.shape[1])
        return ssl_method(SiameseNetwork(**network), study, name), network

    run_stage(
        stage=f"ssl/{name}",
        seed=params.seed,
        runtime=params.runtime,
        recipe=method.training,
        data=Path("data/ssl"),
        identity={"shared": shared.model_dump(), "method": method.model_dump(), "variant": variant.model_dump()},
        build=build,
        seeds=shared.seeds,
        watch=Watch(
            watched_epochs(shared.knn.every_epochs, method.training.epochs),
            lambda dataset, place: watcher(dataset, shared.knn, place.device, place.autocast),
        ),
    )


if __name__ == "__main__":
    with one_line_errors():
        main(sys.argv[1])
