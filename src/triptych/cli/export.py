"""A trained model as a folder for other programs: model card, plain weights, config and ONNX, and no code.

`nn.weights.load_model` reads the folder as well.
"""

import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
CPU = torch.device("cpu")
EXAMPLES = 2  # images in the traced batch; a batch of one would fix its size
SCHEDULER = "scheduler/scheduler_config.json"
# Names of diffusers for the prediction of a network.
PREDICTIONS = {"epsilon": "epsilon", "x0": "sample", "v": "v_prediction"}


@dataclass
class Graph:
    """An ONNX file: `compute` of a network and a batch of `inputs`, with the names of inputs and outputs."""

    compute: Callable[..., Tensor | tuple[Tensor, ...]]
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Model:
    """A network, the config that builds it, ONNX graphs by file, and other JSON files with remarks for the card."""

    network: nn.Module
    config: dict[str, Any]
    graphs: Mapping[str, Graph]
    settings: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    remarks: Mapping[str, str] = field(default_factory=dict)


class _Traced(nn.Module):
    def __init__(self, network: nn.Module, graph: Graph) -> None:
        super().__init__()
        self.network, self.graph = network, graph

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.graph.compute(self.network, *inputs)


def export(name: str, folder: Path, seed_run: int = 0) -> list[str]:
    """Write a model to a new or empty folder, completely or not at all. Return the names of the files.

    Args:
        name: `classifier`, `vae`, `ddpm`, or `ssl/<variant>`.
        folder: the destination.
        seed_run: index of an encoder's training, from 0.

    Raises:
        InputError: the model is missing or damaged, the folder is not empty or cannot be created, or a package that
            ONNX needs is not installed.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is not an empty folder; choose another")
    check_output(folder / "README.md")
    missing = [package for package in NEEDED if find_spec(package) is None]
    if missing:
        raise InputError(f"ONNX needs the package {missing[0]}: `pip install '.[export]'` in the project's folder")
    model = _load(name, seed_run)
    weights = "the state dict of the network" + (f" of training {seed_run}" if name.startswith("ssl/") else "")
    files = {
        "model.safetensors": weights,
        "config.json": f"under `network`, the arguments that build it by `{type(model.network).__module__}`",
        **{file: f"ONNX, any batch size B: {signature(model.network, graph)}" for file, graph in model.graphs.items()},
        **model.remarks,
    }
    card = render(Results(), name, files)
    folder = folder.absolute()
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        save_model(partial, model.network, model.config)
        with bar("writing ONNX", len(model.graphs), "file") as progress:
            for file, graph in model.graphs.items():
                write_onnx(partial / file, model.network, graph)
                progress.update()
        for file, content in model.settings.items():
            write_json(partial / file, content)
        write_text(partial / "README.md", card)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def signature(network: nn.Module, graph: Graph) -> str:
    """Return names and shapes: `images (B, 3, 32, 32) → mu (B, 32), log_var (B, 32)`."""
    with torch.inference_mode():
        outputs = graph.compute(network, *graph.inputs.values())
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    sides = (
        ", ".join(f"{name} ({', '.join(['B', *map(str, value.shape[1:])])})" for name, value in values.items())
        for values in (graph.inputs, dict(zip(graph.outputs, outputs, strict=True)))
    )
    return " → ".join(sides)


def write_onnx(path: Path, network: nn.Module, graph: Graph) -> None:
    """Write a graph whose first dimension, the batch, may have any size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, about itself
        program = torch.onnx.export(
            _Traced(network, graph).eval(),
            tuple(graph.inputs.values()),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=(tuple({0: torch.export.Dim.DYNAMIC} for _ in graph.inputs),),
            dynamo=True,
            optimize=False,  # runtimes optimise on loading, and this would double the time
            verbose=False,
        )
    assert program is not None  # of the exporter that `dynamo` chooses
    for node in program.model.graph:
        node.metadata_props.clear()  # would name source files of this machine
    program.save(path, external_data=False)


# --- models ---


def _load(name: str, seed_run: int) -> Model:
    loaders = {"classifier": _classifier, "vae": _vae, "ddpm": _ddpm}
    study, _, variant = name.partition("/")
    if study == "ssl" and variant:
        return _encoder(encoder_folder(variant, seed_run))
    if name not in loaders:
        raise InputError(
            f"no model '{name}'; expected one of {', '.join(loaders)}, or ssl/<variant>, such as ssl/simsiam"
        )
    folder = model_folder(name)
    if seed_run:
        raise InputError(f"{folder}: --seed-run {seed_run}: only encoders have several training runs")
    return loaders[name](folder)


def _example(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(EXAMPLES, *shape, generator=torch.Generator().manual_seed(0))


def _classifier(folder: Path) -> Model:
    network, config = load_model(folder, Classifier, CPU)

    def compute(network: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
        features = network.backbone(images)
        return network.head(features), features

    graph = Graph(compute, {"images": _example(dataset_shape("generative"))}, ("logits", "features"))
    return Model(network, config, {"classifier.onnx": graph})


def _vae(folder: Path) -> Model:
    network, config = load_model(folder, VAE, CPU)
    images, z = _example(config["network"]["image_shape"]), _example((config["network"]["latents"],))
    encoder = Graph(VAE.encode, {"images": images}, ("mu", "log_var"))
    decoder = Graph(VAE.decode, {"z": z}, ("images",))
    return Model(network, config, {"encoder.onnx": encoder, "decoder.onnx": decoder})


def _encoder(folder: Path) -> Model:
    network, config = load_model(folder, SiameseNetwork, CPU)
    # The predictor is only used in training.
    network.predictor = nn.Identity()  # type: ignore[assignment]
    config["network"]["predictor"] = None

    def compute(network: SiameseNetwork, images: Tensor) -> tuple[Tensor, Tensor]:
        features = network.backbone(images)
        return features, network.projector(features)

    graph = Graph(compute, {"images": _example(dataset_shape("ssl"))}, ("features", "projection"))
    return Model(network, config, {"encoder.onnx": graph})


def _ddpm(folder: Path) -> Model:
    """The denoising network, which is none of diffusers', and its noise levels as a scheduler of diffusers."""
    network, config = load_model(folder, denoising_network, CPU)
    process = validate(Process, config.get("process"), "process", folder / "config.json")
    x, t = _example(config["network"]["image_shape"]), torch.tensor([1.0, 500.0])
    graph = Graph(lambda network, x, t: network(x, t), {"x": x, "t": t}, ("prediction",))
    settings, remark = scheduler(process)
    return Model(network, config, {"denoiser.onnx": graph}, {SCHEDULER: settings}, {SCHEDULER: remark})


def scheduler(process: Process) -> tuple[dict[str, Any], str]:
    """Return the noise levels as the config of a scheduler of diffusers, and how to call the network with it."""
    if isinstance(process, EDMProcess):
        settings = {
            "_class_name": "EDMEulerScheduler",
            **process.model_dump(include={"sigma_min", "sigma_max", "sigma_data", "rho"}),
            "sigma_schedule": "karras",
            "prediction_type": "epsilon",
        }
        return settings, "for diffusers' EDMEulerScheduler; its time c is `t` = 1000 c"
    settings = {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": process.schedule.steps,
        "trained_betas": schedule_betas(process.schedule).tolist(),
        "prediction_type": PREDICTIONS[process.parameterisation],
        "variance_type": "fixed_small",
        "clip_sample": True,
        "clip_sample_range": 1.0,
    }
    return settings, "for diffusers' DDPMScheduler and similar ones, which count times from 0: their s is `t` = s + 1"
