"""Train several DDPM recipes on the same images and measure their samples: the table of docs/ddpm_recipes.md.

    python benchmarks/ddpm_recipes.py --epochs 4

Needs the outputs of `dvc repro classifier` (data/generative and models/classifier). Each recipe in ddpm_recipes.yaml
changes the `ddpm` section of params.yaml, and can have a fraction of the epochs, so that a larger network needs no more
time. Test images are not used: samples are compared with held-out training images. Prints a row of the table after each
recipe.
"""

import argparse
import tempfile
from pathlib import Path

import torch
import yaml
from held_out import HELD_OUT, held_out

from triptych.core.errors import one_line_errors
from triptych.core.schema import read_yaml, validate
from triptych.core.seeds import fold
from triptych.data.storage import load
from triptych.ddpm.model import denoising_network
from triptych.ddpm.objective import diffusion_method
from triptych.ddpm.params import DDPMParams
from triptych.ddpm.samplers import draw_images
from triptych.judge.measure import Judge, Judged
from triptych.machine.device import Machine, machine
from triptych.measures.distributions import FrechetReference
from triptych.measures.images import to_uint8
from triptych.measures.intervals import Resampling
from triptych.measures.params import EvaluationParams
from triptych.params import check
from triptych.training.checkpoint import Checkpoints
from triptych.training.loop import Plan, Trained, Trainer
from triptych.training.objective import resident

PARAMS = Path("params.yaml")
RECIPES = Path(__file__).with_suffix(".yaml")
HEADING = "| recipe | Fréchet distance | recognised | seconds |\n|---|---|---|---|"


def changed(section: dict, changes: dict) -> dict:
    """Return a copy of a section of params.yaml with new values at dotted keys."""
    tree = {key: dict(value) if isinstance(value, dict) else value for key, value in section.items()}
    for key, value in changes.items():
        *path, last = key.split(".")
        place = tree
        for name in path:
            place[name] = dict(place[name])
            place = place[name]
        place[last] = value
    return tree


def trained(study: DDPMParams, seed: int, place: Machine) -> tuple[torch.nn.Module, Trained]:
    """Train one recipe with the pipeline's training loop, without checkpoints to resume from."""
    dataset = load("data/generative")
    torch.manual_seed(fold(seed, "weights"))
    network = denoising_network(image_shape=dataset.train.images.shape[1:], **study.network.model_dump())
    method = diffusion_method(network, study.process)
    split = resident(dataset.train.images, dataset.train.labels, place.device)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints("ddpm", "recipe", root=Path(folder))
        result = Trainer(method, split, study.training, Plan("ddpm", seed, 1e9), place, checkpoints).run()
    method.network.load_state_dict(result.network.state_dict())
    return method.eval(), result


def measured(samples: Judged, real: FrechetReference, settings: EvaluationParams, resampling: Resampling) -> str:
    """Return the cells of the table: Fréchet distance and percentage recognised, with intervals."""
    distance = real.estimate(samples.features, resampling, "frechet")
    share = resampling.proportion(samples.recognised(settings.recognition_threshold))
    return (
        f"{distance.value:.2f} [{distance.low:.2f}, {distance.high:.2f}] "
        f"| {share.value:.1%} [{share.low:.1%}, {share.high:.1%}]"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, required=True, help="number of epochs")
    epochs = parser.parse_args().epochs
    params = check()
    section, settings, sampling = read_yaml(PARAMS)["ddpm"], params.evaluation, params.sampling
    recipes = validate(list[dict], yaml.safe_load(RECIPES.read_text(encoding="utf-8")), "", RECIPES)
    resampling = Resampling(params.seed, settings.confidence_level, settings.bootstrap, "recipes")
    print(HEADING)
    with machine(params.runtime) as place:
        judge = Judge.load(Path("models/classifier"), place.device, settings.batch_size)
        dataset = load("data/generative")
        real = FrechetReference(judge(held_out(params)).features)
        for recipe in recipes:
            own = max(1, round(epochs * recipe.get("share", 1)))
            changes = recipe["changes"] | {"training.epochs": own, "training.snapshot_epochs": [own]}
            study = validate(DDPMParams, changed(section, changes), "ddpm", RECIPES)
            method, result = trained(study, params.seed, place)
            images = draw_images(
                method,
                dataset.train.images.shape[1:],
                HELD_OUT,
                sampling.ddpm.sampler.name,
                sampling.ddpm.sampler.steps,
                params.seed,
                sampling.batch_size,
                place.device,
            )
            cells = measured(judge(to_uint8(images).numpy()), real, settings, resampling)
            print(f"| {recipe['name']} | {cells} | {result.timing['seconds_total']:.0f} |", flush=True)


if __name__ == "__main__":
    with one_line_errors():
        main()
