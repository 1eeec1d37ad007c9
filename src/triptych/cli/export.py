"""Export a trained model to a folder with a model card, weights, a config and ONNX files, for use in other programs.

`triptych.nn.weights.load_model` can load the model from this folder.
"""

import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from triptych.cli.encoders import dataset_shape, encoder_folder
from triptych.cli.generative import model_folder
from triptych.cli.images import bar, check_output
from triptych.core.errors import InputError
from triptych.core.files import write_json, write_text
from triptych.core.schema import validate
from triptych.ddpm.model import denoising_network
from triptych.ddpm.objective import schedule_betas
from triptych.ddpm.params import EDMProcess, Process
from triptych.judge.model import Classifier
from triptych.nn.weights import load_model, save_model
from triptych.page.cards import render
from triptych.report.reader import Results
from triptych.ssl.shared.network import SiameseNetwork
from triptych.vae.model import VAE

NEEDED = ("onnx", "onnxscript")
NETWORKS = {"classifier": Classifier, "vae": VAE, "ddpm": denoising_network}
Compute = Callable[..., Tensor | tuple[Tensor, ...]]
CPU = torch.device("cpu")
EXAMPLES = 2  # images in the traced batch; with one, the exporter would fix the batch size
SCHEDULER = "scheduler/scheduler_config.json"
# Names in diffusers for what the network predicts.
PREDICTIONS = {"epsilon": "epsilon", "x0": "sample", "v": "v_prediction"}


class Graph(nn.Module):
    """A module for ONNX export. Its forward pass calls `compute` with the network and the input tensors.

    `inputs` maps the name of each input to an example tensor. `outputs` contains the names of the outputs.
    """

    def __init__(
        self, network: nn.Module, compute: Compute, inputs: Mapping[str, Tensor], outputs: tuple[str, ...]
    ) -> None:
        super().__init__()
        self.network, self.compute, self.inputs, self.outputs = network, compute, inputs, outputs

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.compute(self.network, *inputs)


def export(name: str, folder: Path, seed_run: int = 0) -> list[str]:
    """Export a model to a new or empty folder, and return the file names. On failure, the folder is not changed.

    `name` is `classifier`, `vae`, `ddpm` or `ssl/<encoder>`. `seed_run` is the index of an encoder's training run.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is not an empty folder; choose another folder")
    check_output(folder / "README.md")
    missing = [package for package in NEEDED if find_spec(package) is None]
    if missing:
        raise InputError(f"ONNX export needs the package {missing[0]}; run `pip install '.[export]'` in the project")
    source = _trained_folder(name, seed_run)
    network, config = load_model(source, NETWORKS.get(name, SiameseNetwork), CPU)
    weights = "the state dict of the network"
    if isinstance(network, SiameseNetwork):
        weights += f" of training run {seed_run}"
        network.predictor = nn.Identity()  # type: ignore[assignment]  # only training uses it
        config["network"]["predictor"] = None
    graphs = _graphs(name, network, config["network"])
    files = {
        "model.safetensors": weights,
        "config.json": f"the arguments of the network in `{type(network).__module__}`, under the key `network`",
        **{file: f"ONNX, any batch size B: {signature(graph)}" for file, graph in graphs.items()},
    }
    settings: dict[str, Any] = {}
    if name == "ddpm":
        process = validate(Process, config.get("process"), "process", source / "config.json")
        settings, files[SCHEDULER] = scheduler(process)
    card = render(Results(), name, files)
    folder = folder.absolute()
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        save_model(partial, network, config)
        with bar("writing ONNX", len(graphs), "file") as progress:
            for file, graph in graphs.items():
                write_onnx(partial / file, graph)
                progress.update()
        if settings:
            write_json(partial / SCHEDULER, settings)
        write_text(partial / "README.md", card)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def signature(graph: Graph) -> str:
    """Describe the inputs and outputs of a graph, for example `z (B, 32) → images (B, 3, 32, 32)` with batch size B."""
    with torch.inference_mode():
        outputs = graph(*graph.inputs.values())
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    sides = (
        ", ".join(f"{name} ({', '.join(['B', *map(str, value.shape[1:])])})" for name, value in values.items())
        for values in (graph.inputs, dict(zip(graph.outputs, outputs, strict=True)))
    )
    return " → ".join(sides)


def write_onnx(path: Path, graph: Graph) -> None:
    """Write `graph` to the ONNX file `path`. The exported graph accepts any batch size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own code
        program = torch.onnx.export(
            graph.eval(),
            tuple(graph.inputs.values()),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=(tuple({0: torch.export.Dim.DYNAMIC} for _ in graph.inputs),),
            dynamo=True,
            optimize=False,  # runtimes optimise on loading, and this would double the time
            verbose=False,
        )
    assert program is not None  # the exporter with dynamo=True always returns a program
    for node in program.model.graph:
        node.metadata_props.clear()  # they contain paths of source files on this machine
    program.save(path, external_data=False)


def _trained_folder(name: str, seed_run: int) -> Path:
    study, _, variant = name.partition("/")
    if study == "ssl" and variant:
        return encoder_folder(variant, seed_run)
    if name not in NETWORKS:
        raise InputError(
            f"no model '{name}'; expected one of {', '.join(NETWORKS)}, or ssl/<variant>, such as ssl/simsiam"
        )
    if seed_run:
        raise InputError(f"--seed-run {seed_run}: {name} has one training run (0); only encoders have several")
    return model_folder(name)


def _graphs(name: str, network: nn.Module, arguments: dict[str, Any]) -> dict[str, Graph]:
    """Return the graphs of the model `name` by file name. `arguments` are the constructor arguments of `network`."""

    def example(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(EXAMPLES, *shape, generator=torch.Generator().manual_seed(0))

    if name == "vae":
        images, z = example(arguments["image_shape"]), example((arguments["latents"],))
        return {
            "encoder.onnx": Graph(network, VAE.encode, {"images": images}, ("mu", "log_var")),
            "decoder.onnx": Graph(network, VAE.decode, {"z": z}, ("images",)),
        }
    if name == "ddpm":
        inputs = {"x": example(arguments["image_shape"]), "t": torch.tensor([1.0, 500.0])}
        return {"denoiser.onnx": Graph(network, lambda network, x, t: network(x, t), inputs, ("prediction",))}
    images = {"images": example(dataset_shape("generative" if name == "classifier" else "ssl"))}
    if name == "classifier":
        return {"classifier.onnx": Graph(network, _logits_and_features, images, ("logits", "features"))}
    return {"encoder.onnx": Graph(network, _features_and_projection, images, ("features", "projection"))}


def _logits_and_features(network: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    features = network.backbone(images)
    return network.head(features), features


def _features_and_projection(network: SiameseNetwork, images: Tensor) -> tuple[Tensor, Tensor]:
    features = network.backbone(images)
    return features, network.projector(features)


def scheduler(process: Process) -> tuple[dict[str, Any], str]:
    """Return the config of a diffusers scheduler for a diffusion process, and a description for the model card."""
    if isinstance(process, EDMProcess):
        settings = {
            "_class_name": "EDMEulerScheduler",
            **process.model_dump(include={"sigma_min", "sigma_max", "sigma_data", "rho"}),
            "sigma_schedule": "karras",
            "prediction_type": "epsilon",
        }
        return settings, "config of diffusers' EDMEulerScheduler; the network's `t` is 1000 times its timestep"
    settings = {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": process.schedule.steps,
        "trained_betas": schedule_betas(process.schedule).tolist(),
        "prediction_type": PREDICTIONS[process.parameterisation],
        "variance_type": "fixed_small",
        "clip_sample": True,
        "clip_sample_range": 1.0,
    }
    return settings, "config of diffusers' DDPMScheduler and similar ones; the network's `t` is their timestep plus 1"
