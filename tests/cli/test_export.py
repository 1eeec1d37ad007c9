"""Exported models compute the same as PyTorch: the weights when loaded again, and ONNX for any batch size."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tiny_models
import torch
from tiny_generative import save_ddpm
from torch import nn
from toy_diffusion import COSINE, EDM, LINEAR, process

from triptych.cli import export
from triptych.core.errors import InputError
from triptych.core.schema import validate
from triptych.ddpm.model import denoising_network
from triptych.ddpm.objective import decay, diffusion_method
from triptych.ddpm.params import EDMProcess
from triptych.judge.model import Classifier
from triptych.nn.weights import load_model, save_model
from triptych.ssl.shared.network import SiameseNetwork
from triptych.vae.model import VAE

CPU = torch.device("cpu")
BATCHES = (1, 2, 5)
UNET = {
    "name": "unet",
    "image_shape": [3, 16, 16],
    "stem_width": 8,
    "width": 8,
    "multipliers": [1, 2],
    "heads": 2,
    "head_size": 8,
    "groups": 4,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a project with every model; it becomes the working directory."""
    tiny_models.project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def assert_same(path: Path, compute: nn.Module, *shapes: tuple[int, ...]) -> None:
    """Compare the outputs of an ONNX file with those of PyTorch for several batch sizes."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    stream = torch.Generator().manual_seed(1)
    for size in BATCHES:
        # An input without further dimensions is a time.
        inputs = [
            torch.randn(size, *shape, generator=stream) if shape else 1000 * torch.rand(size, generator=stream)
            for shape in shapes
        ]
        with torch.inference_mode():
            made = compute(*inputs)
        names = [entry.name for entry in session.get_inputs()]
        found = session.run(None, dict(zip(names, (value.numpy() for value in inputs), strict=True)))
        expected = made if isinstance(made, tuple) else (made,)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other.numpy(), atol=1e-4)
            assert np.ptp(one) > 1e-3, "nothing is compared"


def test_an_encoder_gives_features_and_projection_and_loads_without_its_predictor(folder: Path):
    files = export.export("ssl/simsiam", Path("out"), seed_run=1)
    assert files == ["README.md", "config.json", "encoder.onnx", "model.safetensors"]
    network, config = load_model(Path("out"), SiameseNetwork, CPU)
    assert config["network"]["predictor"] is None
    trained = tiny_models.save_encoder(Path("again"), 1)
    images = torch.randn(3, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(network(images)[0], trained(images)[0])

    def compute(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = trained.backbone(images)
        return features, trained.projector(features)

    assert_same(Path("out/encoder.onnx"), compute, (3, 16, 16))
    assert_described(files, "images (B, 3, 16, 16) → features (B, 16), projection (B, 8)")


def assert_described(files: list[str], graph: str) -> None:
    """Check that the card lists every file and that no file names a folder of this machine."""
    card = Path("out/README.md").read_text()
    assert card.startswith("---\nlicense: ") and graph in card
    for file in set(files) - {"README.md"}:
        assert f"- `{file}`: " in card
        content = (Path("out") / file).read_bytes()
        assert not any(str(path).encode() in content for path in (tiny_models.ROOT, Path(torch.__file__).parent))


def test_the_vae_gives_its_encoder_and_its_decoder(folder: Path):
    assert export.export("vae", Path("out")) == [
        "README.md",
        "config.json",
        "decoder.onnx",
        "encoder.onnx",
        "model.safetensors",
    ]
    trained, _ = load_model(Path("models/vae"), VAE, CPU)
    again, _ = load_model(Path("out"), VAE, CPU)
    z = torch.randn(2, 12)
    torch.testing.assert_close(again.decode(z), trained.decode(z), rtol=0, atol=0)
    assert_same(Path("out/encoder.onnx"), trained.encode, (3, 32, 32))
    assert_same(Path("out/decoder.onnx"), trained.decode, (12,))


def test_the_classifier_gives_logits_and_features(folder: Path):
    assert "classifier.onnx" in export.export("classifier", Path("out"))
    trained, _ = load_model(Path("models/classifier"), Classifier, CPU)
    load_model(Path("out"), Classifier, CPU)
    assert_same(Path("out/classifier.onnx"), lambda x: (trained(x), trained.backbone(x)), (3, 32, 32))


@pytest.mark.parametrize("network", ["patch_unet", "unet"])
def test_the_ddpm_gives_its_prediction_at_any_time(folder: Path, network: str):
    if network == "unet":
        torch.manual_seed(0)
        learned = process(schedule=LINEAR).model_dump()
        save_model(Path("models/ddpm"), denoising_network(**UNET), {"network": UNET, "process": learned})
    files = export.export("ddpm", Path("out"))
    assert {"denoiser.onnx", "scheduler/scheduler_config.json"} <= set(files)
    trained, config = load_model(Path("models/ddpm"), denoising_network, CPU)
    load_model(Path("out"), denoising_network, CPU)
    assert_same(Path("out/denoiser.onnx"), trained, tuple(config["network"]["image_shape"]), ())


def test_the_scheduler_has_the_noise_levels_of_the_chain():
    for schedule in (LINEAR, COSINE):
        learned = process(schedule=schedule, parameterisation="v")
        settings, _ = export.scheduler(learned)
        levels = np.cumprod(1 - np.array(settings["trained_betas"]))
        np.testing.assert_allclose(levels, np.exp(-decay(learned.schedule))[1:], rtol=1e-9)
        assert settings["prediction_type"] == "v_prediction"


@pytest.mark.parametrize("learned", ["epsilon", "x0", "v", "edm"])
def test_a_scheduler_of_diffusers_reads_the_same_image_from_the_networks_answer(tmp_path: Path, learned: str):
    diffusers = pytest.importorskip("diffusers")
    named = validate(EDMProcess, EDM, "process", tmp_path) if learned == "edm" else process(parameterisation=learned)
    settings, _ = export.scheduler(named)
    scheduler = getattr(diffusers, settings["_class_name"]).from_config(settings)
    network, _ = load_model(save_ddpm(tmp_path).model, denoising_network, CPU)
    method = diffusion_method(network, named)
    x = torch.randn(2, 3, 32, 32)
    scheduler.set_timesteps(10)
    time = scheduler.timesteps[4]
    with torch.inference_mode():
        if learned == "edm":
            sigma = scheduler.sigmas[4]
            expected = method.precondition(x * sigma, sigma.expand(2, 1, 1, 1))
            x = x * sigma
            output = network(scheduler.scale_model_input(x, time), 1000 * time.expand(2).float())
        else:
            expected = method.denoise(x, method.alpha_bars[int(time) + 1]).clamp(-1, 1)
            output = network(x, time.expand(2) + 1)
        found = scheduler.step(output, time, x).pred_original_sample
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch):
    before = sorted(folder.rglob("*"))
    for name, seed_run, message in (
        ("gan", 0, "expected one of classifier, vae, ddpm, or ssl/<variant>"),
        ("ssl/simsam", 0, "did you mean 'simsiam'"),
        ("ssl/simsiam", 2, "no training run 2"),
        ("vae", 1, "vae has one training run"),
    ):
        with pytest.raises(InputError, match=message):
            export.export(name, Path("out"), seed_run)
    with pytest.raises(InputError, match="models: exists and is not an empty folder"):
        export.export("vae", Path("models"))
    monkeypatch.setattr(export, "NEEDED", ("no_such_package",))
    with pytest.raises(InputError, match="needs the package no_such_package"):
        export.export("vae", Path("out"))
    assert sorted(folder.rglob("*")) == before
