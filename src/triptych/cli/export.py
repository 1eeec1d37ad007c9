"""A trained model as a folder that other programs read: a model card, plain weights, a config, and ONNX.

Nothing in it is code. The folder is one that `core.model_files.load_model` reads as well.
"""

import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from triptych.cli.encoders import dataset_shape, encoder_folders, refuse_place
from triptych.cli.progress import bar
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

MODELS = Path("models")
NEEDED = ("onnx", "onnxscript")
CPU = torch.device("cpu")
EXAMPLES = 2  # in the batch that is traced; a batch of one would fix its size
# diffusers' names of what a network predicts.
PREDICTIONS = {"epsilon": "epsilon", "x0": "sample", "v": "v_prediction"}


class Computation(nn.Module):
    """What is computed with a network, as the module that the exporter wants."""

    def __init__(self, network: nn.Module, compute: Callable[..., Tensor | tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.network, self.compute = network, compute

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """What `compute` makes of the network and the inputs."""
        return self.compute(self.network, *inputs)


@dataclass(frozen=True)
class Graph:
    """A file of ONNX.

    Attributes:
        computation: what it computes.
        inputs: a batch of examples under the name of each input.
        outputs: the names of its outputs.
    """

    computation: Computation
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]

    def described(self) -> str:
        """Inputs and outputs with their shapes: `images (B, 3, 32, 32) → mu (B, 32), log_var (B, 32)`."""
        with torch.inference_mode():
            made = self.computation(*self.inputs.values())
        found = dict(zip(self.outputs, made if isinstance(made, tuple) else (made,), strict=True))
        before, after = (
            ", ".join(f"{name} ({', '.join(['B', *map(str, value.shape[1:])])})" for name, value in values.items())
            for values in (self.inputs, found)
        )
        return f"{before} → {after}"


@dataclass(frozen=True)
class Model:
    """What is exported.

    Attributes:
        network: whose state dict is written.
        config: holds under "network" the keyword arguments that build it.
        graphs: each file of ONNX.
        settings: further files of JSON, each with its content.
        remarks: what the card says of these files.
    """

    network: nn.Module
    config: dict
    graphs: Mapping[str, Graph]
    settings: Mapping[str, dict] = field(default_factory=dict)
    remarks: Mapping[str, str] = field(default_factory=dict)


def export(name: str, folder: Path, seed_run: int = 0) -> list[str]:
    """Writes a model to a new folder, whole or not at all; a progress bar tells how far it is.

    Args:
        name: `classifier`, `vae`, `ddpm`, or `ssl/<variant>`.
        folder: where to; it must not exist, or be empty.
        seed_run: which training of an encoder, counted from 0.

    Returns:
        The files, as seen from the folder.

    Raises:
        InputError: there is no such model, or its files are missing or damaged; the folder holds something or cannot be
            made; or a package that ONNX needs is not installed.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder}: already there, and not an empty folder; name a new one")
    refuse_place(folder)
    missing = [package for package in NEEDED if find_spec(package) is None]
    if missing:
        raise InputError(f"ONNX needs the package {missing[0]}: `pip install '.[export]'` in the project's folder")
    model = _model(name, seed_run)
    weights = "the state dict of the network" + (f" of training {seed_run}" if name.startswith("ssl/") else "")
    files = {
        "model.safetensors": weights,
        "config.json": f"under `network` what builds it by `{type(model.network).__module__}`",
        **{file: f"ONNX, any batch size B: {graph.described()}" for file, graph in model.graphs.items()},
        **model.remarks,
    }
    card = render(Results(), name, files)
    folder = folder.absolute()
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        save_model(partial, model.network, model.config)
        with bar("writing ONNX", len(model.graphs), "file") as progress:
            for file, graph in model.graphs.items():
                write_onnx(partial / file, graph)
                progress.update()
        for file, content in model.settings.items():
            write_json(partial / file, content)
        write_text(partial / "README.md", card)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def write_onnx(path: Path, graph: Graph) -> None:
    """Writes a graph whose first dimension, the batch, may have any size."""
    batch = {0: torch.export.Dim.DYNAMIC}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own workings
        program = torch.onnx.export(
            graph.computation.eval(),
            tuple(graph.inputs.values()),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=(tuple(batch for _ in graph.inputs),),
            dynamo=True,
            optimize=False,  # runtimes optimise what they load, and this takes as long as all the rest
            verbose=False,
        )
    # What the exporter notes of each node: where in the source, on this machine, it came from.
    for node in program.model.graph:
        node.metadata_props.clear()
    program.save(path, external_data=False)


# --- the models ---


def _model(name: str, seed_run: int) -> Model:
    """Raises InputError: there is no model of that name, or its files are missing or damaged."""
    makers = {"classifier": _classifier, "vae": _vae, "ddpm": _ddpm}
    kind, _, variant = name.partition("/")
    if kind == "ssl" and variant:
        return _encoder(encoder_folders(variant), seed_run)
    if name not in makers:
        raise InputError(f"no model '{name}'; allowed are {', '.join(makers)} and ssl/<variant>, such as ssl/simsiam")
    if seed_run:
        raise InputError(f"{MODELS / name}: no training {seed_run}; only encoders are trained more than once")
    return makers[name](MODELS / name)


def _images(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(EXAMPLES, *shape, generator=torch.Generator().manual_seed(0))


def _classifier(folder: Path) -> Model:
    network, config = load_model(folder, Classifier, CPU)

    def compute(network: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
        features = network.backbone(images)
        return network.head(features), features

    images = _images(dataset_shape("generative"))
    graph = Graph(Computation(network, compute), {"images": images}, ("logits", "features"))
    return Model(network, config, {"classifier.onnx": graph})


def _vae(folder: Path) -> Model:
    network, config = load_model(folder, VAE, CPU)
    images, z = _images(config["network"]["image_shape"]), _images((config["network"]["latents"],))
    encoder = Graph(Computation(network, VAE.encode), {"images": images}, ("mu", "log_var"))
    decoder = Graph(Computation(network, VAE.decode), {"z": z}, ("images",))
    return Model(network, config, {"encoder.onnx": encoder, "decoder.onnx": decoder})


def _encoder(folders: list[Path], seed_run: int) -> Model:
    """Backbone and projector: the predictor serves training alone."""
    if seed_run not in range(len(folders)):
        raise InputError(f"{folders[0]}: no training {seed_run}; there are 0 to {len(folders) - 1}")
    network, config = load_model(folders[seed_run], SiameseNetwork, CPU)
    network.predictor = nn.Identity()
    config["network"]["predictor"] = None

    def compute(network: SiameseNetwork, images: Tensor) -> tuple[Tensor, Tensor]:
        features = network.backbone(images)
        return features, network.projector(features)

    graph = Graph(Computation(network, compute), {"images": _images(dataset_shape("ssl"))}, ("features", "projection"))
    return Model(network, config, {"encoder.onnx": graph})


def _ddpm(folder: Path) -> Model:
    """The denoising network, and the noise levels as a scheduler of diffusers.

    Neither network is one of diffusers': the report's has linear attention at every resolution, the other works on
    patches.
    """
    network, config = load_model(folder, denoising_network, CPU)
    process = validate(Process, config.get("process"), "process", folder / "config.json")
    x, t = _images(config["network"]["image_shape"]), torch.tensor([1.0, 500.0])
    graph = Graph(Computation(network, lambda network, x, t: network(x, t)), {"x": x, "t": t}, ("prediction",))
    file, (settings, remark) = "scheduler/scheduler_config.json", scheduler(process)
    return Model(network, config, {"denoiser.onnx": graph}, {file: settings}, {file: remark})


def scheduler(process: Process) -> tuple[dict, str]:
    """The noise levels as the config of a scheduler of diffusers, and how the network is called under it."""
    if isinstance(process, EDMProcess):
        settings = {
            "_class_name": "EDMEulerScheduler",
            **process.model_dump(include={"sigma_min", "sigma_max", "sigma_data", "rho"}),
            "sigma_schedule": "karras",
            "prediction_type": "epsilon",
        }
        return settings, "for diffusers' EDMEulerScheduler; where it says time c, `t` is 1000 c"
    settings = {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": process.schedule.steps,
        "trained_betas": schedule_betas(process.schedule).tolist(),
        "prediction_type": PREDICTIONS[process.parameterisation],
        "variance_type": "fixed_small",
        "clip_sample": True,
        "clip_sample_range": 1.0,
    }
    return (
        settings,
        "for diffusers' DDPMScheduler and its like, which count times from 0: where they say s, `t` is s + 1",
    )
