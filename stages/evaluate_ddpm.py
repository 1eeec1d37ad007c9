"""Stage `evaluate_ddpm`: compute the metrics of the DDPM."""

from pathlib import Path

from triptych.core.files import read_arrays, write_arrays, write_text
from triptych.core.schema import Runtime, read
from triptych.data.storage import load
from triptych.ddpm.measure import DDPMMeasures, restoration_table
from triptych.ddpm.objective import load_trained
from triptych.judge.measure import Judge
from triptych.machine.device import machine
from triptych.machine.processes import run_script
from triptych.measures.estimate import write_metrics
from triptych.measures.params import EvaluationParams


def main() -> None:
    """Read params.yaml, the models and the samples, and write metrics, tables and the judge's class probabilities."""
    params = read(seed=int, runtime=Runtime, evaluation=EvaluationParams)
    with machine(params.runtime) as here:
        at_once = here.at_once(tasks=8)
        measures = DDPMMeasures(
            method=load_trained(Path("models/ddpm"), here.device),
            judge=Judge.load(Path("models/classifier"), here.device, params.evaluation.batch_size),
            dataset=load("data/generative"),
            drawn=read_arrays("samples/ddpm/images.npz"),
            settings=params.evaluation,
            seed=params.seed,
            device=here.device,
            at_once=at_once,
        )
        numbers = measures.numbers()
        write_metrics("metrics/ddpm.json", numbers)
        write_text("plots/ddpm/restoration.csv", restoration_table(numbers["restoration"]).to_csv(index=False))
        write_text("plots/ddpm/sampling.csv", measures.sampling().to_csv(index=False))
        write_text("plots/ddpm/guidance.csv", measures.guidance().to_csv(index=False))
        write_arrays("evaluations/ddpm/judged.npz", measures.probabilities())


if __name__ == "__main__":
    run_script("evaluate_ddpm", main)
