"""Stage `sample@<study>`: images drawn from the trained weights of a generative study, as arrays, and their seconds."""

import sys
from importlib import import_module
from pathlib import Path

import torch

from triptych.core.errors import one_line_errors
from triptych.core.files import write_arrays, write_json
from triptych.core.schema import Runtime, read
from triptych.data.storage import load
from triptych.machine.device import machine
from triptych.machine.processes import stage_clock
from triptych.measures.sampling_params import SamplingParams
from triptych.nn.weights import save_tensors


def main(study: str) -> None:
    """Reads params and weights, draws, writes the outputs of the stage."""
    params = read(seed=int, runtime=Runtime, sampling=SamplingParams)
    # By its name: drawing from one study depends on no code of another.
    sampling = import_module(f"triptych.{study}.sample")
    with machine(params.runtime) as place:
        drawn = sampling.draw(
            model=Path("models") / study,
            snapshots=Path("snapshots") / study,
            dataset=load("data/generative"),
            params=params.sampling,
            seed=params.seed,
            place=place,
        )
        folder = Path("samples") / study
        write_arrays(folder / "images.npz", drawn.arrays)
        for name, tensors in drawn.tensors.items():
            save_tensors(folder / f"{name}.safetensors", {key: torch.from_numpy(part) for key, part in tensors.items()})
        write_json(Path("metrics/timing/sample") / f"{study}.json", {"sampling": drawn.timing, **place.describe()})


if __name__ == "__main__":
    with one_line_errors(), stage_clock(f"sample/{sys.argv[1]}"):
        main(sys.argv[1])
