"""Stage `evaluate_ddpm`: every number of the DDPM study, and the images of its figures."""

from pathlib import Path

from triptych.data.storage import load
from triptych.errors import one_line_errors
from triptych.evaluation.ddpm_study import DDPMStudy, Settings
from triptych.evaluation.judge import Judge
from triptych.models.denoiser import denoising_network
from triptych.models.files import load_model
from triptych.objectives.diffusion_methods import diffusion_method
from triptych.params.base import read
from triptych.params.ddpm import DDPMParams
from triptych.params.evaluation import EvaluationParams
from triptych.params.training import Runtime
from triptych.training.machine import machine


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
