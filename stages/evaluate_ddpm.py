"""Stage `evaluate_ddpm`: every number of the DDPM study, and the images of its figures."""

from pathlib import Path

from triptych.core.errors import one_line_errors
from triptych.core.machine import machine
from triptych.core.model_files import load_model
from triptych.core.schema import read
from triptych.data.storage import load
from triptych.ddpm.method import diffusion_method
from triptych.ddpm.network import denoising_network
from triptych.ddpm.params import DDPMParams
from triptych.measures.ddpm import DDPMStudy, Settings
from triptych.measures.judge import Judge
from triptych.measures.params import EvaluationParams
from triptych.core.runtime import Runtime


def main() -> None:
    """Reads params and models, measures, writes the outputs of the stage."""
    params = read(seed=int, runtime=Runtime, ddpm=DDPMParams, evaluation=EvaluationParams)
    with machine(params.runtime) as place:
        network, _ = load_model(Path("models/ddpm"), denoising_network, place.device)
        study = DDPMStudy(
            method=diffusion_method(network, params.ddpm.process).to(place.device),
            judge=Judge.load(Path("models/classifier"), place.device, params.evaluation.batch_size),
            dataset=load(Path("data/generative")),
            settings=Settings(params.seed, params.ddpm.evaluation, params.evaluation),
            device=place.device,
            precision=place.autocast,
        )
        study.measure(Path("metrics/ddpm.json"), Path("plots/ddpm"))
        study.price(Path("plots/ddpm/sampling.csv"), Path("metrics/timing/ddpm_sampling.json"), place.describe())
        study.draw(Path("evaluations/ddpm/images.npz"), Path("snapshots/ddpm"))


if __name__ == "__main__":
    with one_line_errors():
        main()
