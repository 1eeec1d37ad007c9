"""Stage `evaluate_vae`: compute the metrics of the VAE."""

from pathlib import Path

from triptych.core.files import read_arrays, write_arrays, write_text
from triptych.core.schema import Runtime, read
from triptych.data.storage import load
from triptych.judge.measure import Judge
from triptych.machine.device import machine
from triptych.machine.processes import run_script
from triptych.measures.estimate import write_metrics
from triptych.measures.params import EvaluationParams
from triptych.nn.weights import load_model
from triptych.vae.measure import VAEMeasures
from triptych.vae.model import VAE
from triptych.vae.prior import load_mixture


def main() -> None:
    """Read params.yaml, the models and the samples, and write metrics, a table and the judge's class probabilities."""
    params = read(seed=int, runtime=Runtime, evaluation=EvaluationParams)
    with machine(params.runtime) as here:
        at_once = here.at_once(tasks=6)
        measures = VAEMeasures(
            network=load_model(Path("models/vae"), VAE, here.device)[0],
            judge=Judge.load(Path("models/classifier"), here.device, params.evaluation.batch_size),
            dataset=load("data/generative"),
            drawn=read_arrays("samples/vae/images.npz"),
            prior=load_mixture(Path("samples/vae/prior.safetensors")),
            settings=params.evaluation,
            seed=params.seed,
            device=here.device,
            at_once=at_once,
        )
        write_metrics("metrics/vae.json", measures.numbers())
        write_text("plots/vae/latents.csv", measures.latents().to_csv(index=False))
        write_arrays("evaluations/vae/judged.npz", {"final_probabilities": measures.final_probabilities()})


if __name__ == "__main__":
    run_script("evaluate_vae", main)
