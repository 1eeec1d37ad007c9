"""Two processes give the result of one process with the same global batch: under torchrun, and as workers.

As a script this file is what each process runs, `torchrun test_processes.py FOLDER`, or what starts the workers,
`python test_processes.py FOLDER workers`.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_run
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from scripts import run_script
from torch import Tensor, nn

from triptych.core.schema import Runtime
from triptych.machine import processes as forks
from triptych.machine.device import Machine, machine
from triptych.nn.weights import save_weights
from triptych.ssl.methods.simsiam import Recipe, SimSiam
from triptych.ssl.shared.network import SiameseNetwork
from triptych.ssl.shared.params import ViewParams
from triptych.ssl.shared.views import Views
from triptych.training.params import Training
from triptych.training.processes import GlobalBatchNorm, globalise, in_workers
from triptych.vae.model import VAE
from triptych.vae.objective import VAEObjective

HERE = Path(__file__).parent
PROCESSES = 2
# Not of width 4: there torch 2.15 writes past its memory in a 1x1 convolution of stride 2 on CPUs without AVX-512.
SMALL = {"name": "small_resnet", "width": 8, "blocks": [1, 1], "stem_stride": 1}
VIEWS = {
    **{"crop_scale": [0.3, 1.0], "crop_ratio": [1.0, 1.0], "jitter": 0.8, "brightness": 0.4, "grey": 0.2},
    **dict.fromkeys(("flip", "contrast", "saturation", "hue", "blur", "solarize", "invert", "rotation"), 0.0),
    "heavy": {"operations": 0, "magnitude": 9.0},
    "blur_sigma": [0.1, 2.0],
}
RUNTIME = Runtime(launch="python", device="cpu", precision="float32", threads=1, compile=False, checkpoint_seconds=60.0)


# Work of each process -----------------------------------------------------------------------------------------------


def train_vae(folder: Path, place: Machine) -> None:
    """Train a small VAE for nine steps, with gradient clipping and averaged weights."""
    trained = tiny_run.run(
        folder,
        training=training(),
        objective=lambda: VAEObjective(VAE((3, 8, 8), [4, 8], 3), sigma=0.5),
        data=tiny_run.images(50),
        place=place,
        snapshot_epochs=(1, 3),
    )
    if place.leads:
        save_weights(folder / "weights.safetensors", trained.network)
        (folder / "result.json").write_text(json.dumps({"history": trained.history, "timing": trained.timing}))
    if place.world > 1:
        # Every process ends with the same weights, not only the one that writes them.
        mine = torch.cat([p.detach().flatten() for p in trained.network.parameters()])
        other = mine.clone()
        dist.broadcast(other, src=0)
        assert torch.equal(mine, other)


def train_simsiam(folder: Path, place: Machine) -> None:
    """Train a small SimSiam for nine steps, with batch norm in one and two dimensions."""
    folder = folder / "simsiam"
    trained = tiny_run.run(
        folder,
        training=training(),
        objective=lambda: SimSiam(
            SiameseNetwork(3, SMALL, {"hidden": [8], "dim": 8}, {"hidden": 4}),
            Views(ViewParams(**VIEWS)),
            Recipe.model_construct(predictor="mlp", stop_gradient=True, symmetric=True, momentum=0.0),
        ),
        data=tiny_run.images(50),
        place=place,
    )
    if place.leads:
        save_weights(folder / "weights.safetensors", trained.network)
        (folder / "result.json").write_text(json.dumps({"history": trained.history}))


def training() -> Training:
    """Use momentum, because Adam divides by gradients near zero and so enlarges rounding errors."""
    return tiny_run.recipe(optimiser=tiny_run.SGD | {"learning_rate": 0.001}, gradient_clip=50.0, batch_size=16)


LAYOUTS = {
    "contiguous": torch.contiguous_format,
    "channels_last": torch.channels_last,
}  # compiled loops take the latter


def norm_half_a_batch(folder: Path, place: Machine) -> None:
    """Run the half batch of this process forward and backward through a convolution and global batch norms."""
    for name, layout in LAYOUTS.items():
        network, (x, target) = globalise(norm_network()).to(memory_format=layout), norm_data()
        share = len(x) // place.world
        rows = slice(place.rank * share, (place.rank + 1) * share)
        mine = x[rows].to(memory_format=layout).clone().requires_grad_()
        output = network(mine)
        (output - target[rows]).square().mean().backward()
        for parameter in network.parameters():
            dist.all_reduce(parameter.grad)
            parameter.grad /= place.world
        # The loss is a mean over the rows of all processes.
        results = {"output": output.detach(), "x.grad": mine.grad / place.world}
        results |= {f"{name}.grad": p.grad for name, p in network.named_parameters()}
        results |= dict(network.state_dict())
        file = folder / f"{name}_{place.rank}.safetensors"
        save_file({name: t.contiguous() for name, t in results.items()}, file)


def norm_network() -> nn.Sequential:
    """Build a network with batch norms of (B, C, H, W) and (B, C), with and without an affine map."""
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4, affine=False)),
        *(nn.Flatten(), nn.BatchNorm1d(64), nn.BatchNorm1d(64, affine=False)),
    )
    nn.init.uniform_(network[1].weight, 0.5, 1.5)
    nn.init.uniform_(network[1].bias, -1, 1)
    return network


def norm_data() -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(1)
    # The halves differ in mean and spread, so local norms would give other numbers.
    spread = torch.linspace(0.5, 2.0, 12).view(12, 1, 1, 1)
    x = spread * torch.randn(12, 3, 6, 6, generator=stream) + spread
    return x, torch.randn(12, 64, generator=stream)


# Tests ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["launcher", "workers"])
def together(request, tmp_path_factory) -> Path:
    """Run `everything` in two processes; return their folder."""
    if request.param == "workers" and not forks.AVAILABLE:
        pytest.skip("workers are forked, on Linux alone")
    return done_together(tmp_path_factory.mktemp(request.param), request.param)


def done_together(folder: Path, how: str) -> Path:
    if how == "launcher":
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={PROCESSES}"]
        path = os.pathsep.join([os.environ["PYTHONPATH"], str(HERE.parent)])
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
        command = [*launcher, __file__, str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    else:
        done = run_script(Path(__file__), str(folder), "workers", folder=folder)
    assert done.returncode == 0, done.stderr
    assert how == "launcher" or "Warning" not in done.stderr
    return folder


def assert_same_weights(found: Path, expected: Path) -> None:
    """Compare the weights saved in two folders, within float tolerance."""
    weights = load_file(found / "weights.safetensors")
    for name, tensor in load_file(expected / "weights.safetensors").items():
        torch.testing.assert_close(
            weights[name], tensor, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_two_processes_train_what_one_trains(together, tmp_path, one_thread):
    with machine(RUNTIME) as place:
        train_vae(tmp_path, place)
    assert_same_weights(together, tmp_path)
    results = [json.loads((folder / "result.json").read_text()) for folder in (tmp_path, together)]
    for alone, shared in zip(*(result["history"] for result in results), strict=True):
        assert shared == pytest.approx(alone, rel=1e-4)
    assert [result["timing"]["processes"] for result in results] == [1, PROCESSES]
    # Only the leading process writes snapshots.
    kept = sorted(path.name for path in (together / "tiny/key/snapshots").iterdir())
    assert kept == ["epoch_0001.safetensors", "epoch_0003.safetensors"]


def test_two_processes_train_the_simsiam_that_one_trains(together, tmp_path, one_thread):
    with machine(RUNTIME) as place:
        train_simsiam(tmp_path, place)
    assert_same_weights(together / "simsiam", tmp_path / "simsiam")
    histories = [json.loads((folder / "simsiam/result.json").read_text())["history"] for folder in (tmp_path, together)]
    for alone, shared in zip(*histories, strict=True):
        # The spread is computed per process and then averaged; over half the rows it is smaller.
        assert shared.pop("embedding_std") == pytest.approx(alone.pop("embedding_std"), abs=0.1)
        assert shared == pytest.approx(alone, rel=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_global_batch_norm_is_the_batch_norm_of_the_whole_batch(layout, together):
    network, (x, target) = norm_network(), norm_data()
    x.requires_grad_()
    output = network(x)
    (output - target).square().mean().backward()
    halves = [load_file(together / f"{layout}_{rank}.safetensors") for rank in range(PROCESSES)]
    for name, whole in {"output": output, "x.grad": x.grad}.items():
        torch.testing.assert_close(torch.cat([half[name] for half in halves]), whole.detach(), rtol=1e-4, atol=1e-5)
    for half in halves:
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(half[f"{name}.grad"], parameter.grad, rtol=1e-4, atol=1e-5)
        for name, tensor in network.state_dict().items():
            torch.testing.assert_close(half[name], tensor, rtol=1e-5, atol=1e-5)


def test_norms_are_replaced_in_place_and_keep_their_state():
    network = norm_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert globalise(network) is network
    kinds = [type(layer) for layer in network]
    assert kinds[:4] == [nn.Conv2d, GlobalBatchNorm, nn.ReLU, GlobalBatchNorm]
    assert kinds[4:] == [nn.Flatten, GlobalBatchNorm, GlobalBatchNorm]
    after = network.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[name], before[name]) for name in before)
    # In eval mode processes share nothing.
    x = norm_data()[0]
    torch.testing.assert_close(network.eval()(x), norm_network().eval()(x))


def test_workers_give_the_same_bits_at_each_repetition(together, tmp_path):
    if not together.name.startswith("workers"):
        pytest.skip("the backends of a launcher do not fix the order of sums")
    again = done_together(tmp_path, "workers")
    for name in (
        "weights.safetensors",
        "simsiam/weights.safetensors",
        "channels_last_0.safetensors",
        "contiguous_1.safetensors",
    ):
        assert (again / name).read_bytes() == (together / name).read_bytes(), name


def everything(folder: Path, place: Machine) -> None:
    train_vae(folder, place)
    train_simsiam(folder, place)
    norm_half_a_batch(folder, place)


if __name__ == "__main__":
    with machine(RUNTIME) as here:
        out = Path(sys.argv[1])
        if sys.argv[2:] == ["workers"]:
            in_workers(lambda rank: everything(out, replace(here, rank=rank, world=PROCESSES)), PROCESSES)
        else:
            everything(out, here)
