"""Stage `ddpm`: train the DDPM (a diffusion model) on the prepared images."""

from pathlib import Path

from triptych.core.schema import Runtime, read
from triptych.data.storage import Dataset
from triptych.ddpm.model import denoising_network
from triptych.ddpm.objective import DenoisingObjective, diffusion_method
from triptych.ddpm.params import DDPMParams
from triptych.machine.processes import run_script
from triptych.training.stage import Stage, run_stage


def main() -> None:
    """Read params.yaml, train the DDPM, and write the outputs of the stage."""
    params = read(seed=int, runtime=Runtime, ddpm=DDPMParams)
    study = params.ddpm

    def build(dataset: Dataset) -> tuple[DenoisingObjective, dict]:
        network = {"image_shape": list(dataset.train.images.shape[1:]), **study.network.model_dump()}
        config = {"network": network, "process": study.process.model_dump()}
        return diffusion_method(denoising_network(**network), study.process), config

    stage = Stage(
        name="ddpm",
        seed=params.seed,
        runtime=params.runtime,
        training=study.training,
        data=Path("data/generative"),
        identity={"process": study.process.model_dump(), "network": study.network.model_dump()},
        build=build,
        snapshot_epochs=study.training.snapshot_epochs,
        seeds=study.seeds,
    )
    run_stage(stage)


if __name__ == "__main__":
    run_script("ddpm", main)
