"""Stage `evaluate_vae`: every number of the VAE study, and the images of its figures."""

from pathlib import Path

from triptych.core.errors import one_line_errors
from triptych.core.machine import machine
from triptych.core.model_files import load_model
from triptych.core.schema import read
from triptych.data.storage import load
from triptych.measures.judge import Judge
from triptych.measures.params import EvaluationParams
from triptych.measures.vae import Settings, VAEStudy
from triptych.core.runtime import Runtime
from triptych.vae.network import VAE
from triptych.vae.params import VAEParams


def main() -> None:
    """Reads params and models, measures, writes the outputs of the stage."""
    params = read(seed=int, runtime=Runtime, vae=VAEParams, evaluation=EvaluationParams)
    with machine(params.runtime) as place:
        network, _ = load_model(Path("models/vae"), VAE, place.device)
        study = VAEStudy(
            network=network,
            judge=Judge.load(Path("models/classifier"), place.device, params.evaluation.batch_size),
            dataset=load(Path("data/generative")),
            settings=Settings(params.seed, params.vae.evaluation, params.evaluation),
            device=place.device,
        )
        study.measure(Path("metrics/vae.json"), Path("plots/vae"))
        study.draw(Path("evaluations/vae/images.npz"), Path("snapshots/vae"))


if __name__ == "__main__":
    with one_line_errors():
        main()
