"""Stage `vae`: train the VAE on the prepared images."""

from pathlib import Path

from triptych.core.schema import Runtime, read
from triptych.data.storage import Dataset
from triptych.machine.processes import run_script
from triptych.training.stage import Stage, run_stage
from triptych.vae.model import VAE
from triptych.vae.objective import VAEObjective
from triptych.vae.params import VAEParams


def main() -> None:
    """Read params.yaml, train the VAE, and write the outputs of the stage."""
    params = read(seed=int, runtime=Runtime, vae=VAEParams)
    study = params.vae

    def build(dataset: Dataset) -> tuple[VAEObjective, dict]:
        network = {"image_shape": list(dataset.train.images.shape[1:]), **study.network.model_dump()}
        return VAEObjective(VAE(**network), study.likelihood_sigma), {"network": network}

    stage = Stage(
        name="vae",
        seed=params.seed,
        runtime=params.runtime,
        training=study.training,
        data=Path("data/generative"),
        identity={"likelihood_sigma": study.likelihood_sigma, "network": study.network.model_dump()},
        build=build,
        snapshot_epochs=study.training.snapshot_epochs,
        seeds=study.seeds,
    )
    run_stage(stage)


if __name__ == "__main__":
    run_script("vae", main)
