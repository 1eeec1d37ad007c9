"""Stage `sample@<study>`: generate images with the trained model of a generative study (VAE or DDPM)."""

import sys
from functools import partial
from importlib import import_module
from pathlib import Path

from triptych.core.files import write_json
from triptych.core.schema import Runtime, read
from triptych.data.storage import load
from triptych.machine.device import machine
from triptych.machine.processes import run_script


def main(name: str) -> None:
    """Generate images with the model of the study `name` ("vae" or "ddpm"), and write the images and the run time."""
    study = import_module(f"triptych.{name}.sample")  # by name, so that no study depends on the code of another
    params = read(seed=int, runtime=Runtime, sampling=study.SamplingParams)
    with machine(params.runtime) as here:
        timing = study.draw(
            folder=Path("samples") / name,
            model=Path("models") / name,
            snapshots=Path("snapshots") / name,
            dataset=load("data/generative"),
            params=params.sampling,
            seed=params.seed,
            machine=here,
        )
        write_json(Path("metrics/timing/sample") / f"{name}.json", {"sampling": timing, **here.describe()})


if __name__ == "__main__":
    run_script(f"sample/{sys.argv[1]}", partial(main, sys.argv[1]))
