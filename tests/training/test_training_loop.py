"""The training loop: determinism, schedules, timing, one-line errors; stages and their outputs."""

import copy
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tiny_run
import torch
from safetensors.torch import load_file
from tiny_run import (
    BATCH,
    EPOCHS,
    IMAGES,
    MUON,
    RATE,
    SGD,
    STEPS,
    STEPS_PER_EPOCH,
    TinyNetwork,
    TinyObjective,
    recipe,
    run,
)
from torch import nn

from triptych.core.errors import InputError
from triptych.core.schema import Runtime, read, validate
from triptych.data.sources.build import save
from triptych.data.storage import Dataset, Split
from triptych.ddpm.params import DDPMParams
from triptych.machine.device import machine
from triptych.machine.randomness import Draw
from triptych.nn.weights import load_model
from triptych.training import checkpoint, loop
from triptych.training.checkpoint import Checkpoints
from triptych.training.objective import Batch, Objective, epoch_order
from triptych.training.optimisers import WeightAverage, build_optimisers, rate_factor, set_rates
from triptych.training.params import Schedule
from triptych.training.stage import Stage, run_stage
from triptych.vae.model import VAE
from triptych.vae.objective import VAEObjective
from triptych.vae.params import VAEParams

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("one_thread")


def digest(network: nn.Module) -> str:
    """Hash the state of a network."""
    total = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        total.update(name.encode() + tensor.detach().contiguous().numpy().tobytes())
    return total.hexdigest()


# --- Determinism ---


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tmp_path):
    once, again, other = run(tmp_path / "a"), run(tmp_path / "b"), run(tmp_path / "c", seed=1)
    assert digest(once.network) == digest(again.network) != digest(other.network)
    assert once.history == again.history != other.history


def test_checkpoints_and_snapshots_change_nothing(tmp_path):
    plain = run(tmp_path / "a")
    watched = run(tmp_path / "b", checkpoint_seconds=tiny_run.EVERY_STEP, snapshot_epochs=(1, 2, 3))
    assert digest(plain.network) == digest(watched.network)
    assert plain.history == watched.history


def test_each_epoch_visits_the_images_in_another_order_of_its_own():
    def order(seed: int, epoch: int) -> list[int]:
        return epoch_order(50, seed, epoch, torch.device("cpu")).tolist()

    assert order(0, 1) == order(0, 1) and sorted(order(0, 1)) == list(range(50))
    assert order(0, 1) != order(0, 2) and order(0, 1) != order(1, 1)


def test_processes_share_one_stream_of_noise():
    whole = Draw("cpu", (0, "step", 5))
    parts = [Draw("cpu", (0, "step", 5), row=row, rows=6) for row in (0, 3)]
    for method in ("normal", "uniform"):
        rows = [getattr(part, method)((3, 2)) for part in parts]
        assert torch.equal(getattr(whole, method)((6, 2)), torch.cat(rows))
    drawn = torch.cat([part.integers(0, 10, (3,)) for part in parts])
    assert torch.equal(whole.integers(0, 10, (6,)), drawn)


def test_every_step_has_noise_of_its_own():
    draws = [Draw("cpu", (0, "step", step)).normal((1000,)) for step in (1, 2)]
    assert abs(float(torch.corrcoef(torch.stack(draws))[0, 1])) < 0.1


# --- What a run returns ---


def test_history_has_one_row_an_epoch_and_the_loss_falls(tmp_path):
    trained = run(tmp_path, training=recipe(epochs=15))
    assert [row["epoch"] for row in trained.history] == list(range(1, 16))
    assert [row["images"] for row in trained.history] == [BATCH * STEPS_PER_EPOCH * n for n in range(1, 16)]
    assert trained.history[-1]["loss"] < 0.5 * trained.history[0]["loss"]
    assert all(row["loss"] == pytest.approx(row["mean"] + row["spread"]) for row in trained.history)


def test_the_weights_of_an_epoch_are_kept_as_they_were(tmp_path):
    """Compare with the network at the last step of the epoch, without an average."""
    kept = {}

    def objective() -> TinyObjective:
        made = TinyObjective(lambda step: kept.update({step: copy.deepcopy(made.network.state_dict())}))
        return made

    run(tmp_path, objective=objective, training=recipe(ema_halflife_images=0), snapshot_epochs=(1, 3))
    folder = tmp_path / "tiny" / "key" / "snapshots"
    assert sorted(path.name for path in folder.iterdir()) == ["epoch_0001.safetensors", "epoch_0003.safetensors"]
    for epoch in (1, 3):
        stored = load_file(folder / f"epoch_{epoch:04d}.safetensors")
        assert all(torch.equal(stored[name], tensor) for name, tensor in kept[epoch * STEPS_PER_EPOCH].items())


def test_without_an_average_the_network_itself_is_returned(tmp_path):
    seen = []

    def objective() -> TinyObjective:
        seen.append(TinyObjective())
        return seen[-1]

    averaged = run(tmp_path / "a", objective=objective)
    assert digest(averaged.network) != digest(seen[0].network)
    plain = run(tmp_path / "b", objective=objective, training=recipe(ema_halflife_images=0))
    assert digest(plain.network) == digest(seen[1].network) == digest(seen[0].network)
    assert not plain.network.training


def test_only_training_counts_as_training_time(tmp_path, monkeypatch):
    now = 0.0
    # Two busy threads: two seconds of CPU time per second.
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: now, process_time=lambda: 2 * now))

    def pass_time(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(loop, "save_weights", lambda path, network: pass_time(1000.0))
    whole_save = Checkpoints.save
    monkeypatch.setattr(Checkpoints, "save", lambda self, state: pass_time(50.0) or whole_save(self, state))
    trained = run(
        tmp_path,
        objective=lambda: TinyObjective(lambda step: pass_time(1.0)),
        checkpoint_seconds=2.0,
        snapshot_epochs=(1, 3),
    )
    assert [row["seconds"] for row in trained.epochs] == [STEPS_PER_EPOCH] * EPOCHS
    assert trained.timing["seconds_per_epoch"] == STEPS_PER_EPOCH
    assert trained.timing["seconds_total"] == STEPS
    assert [row["cpu_seconds"] for row in trained.epochs] == [2 * STEPS_PER_EPOCH] * EPOCHS
    assert trained.timing["cpu_seconds_total"] == 2 * STEPS
    assert trained.timing["images_per_second"] == pytest.approx(BATCH)
    # One within each epoch of 4 steps, and one at the end of each.
    assert trained.timing["checkpoint_seconds"] == 50.0 * (EPOCHS + EPOCHS)
    assert trained.timing.keys() >= {"device", "precision", "threads", "processes", "torch", "started", "parameters"}


# --- Refusals ---


def test_fewer_images_than_a_batch_are_refused(tmp_path):
    run(tmp_path / "a", data=tiny_run.images(BATCH))
    with pytest.raises(InputError, match=f"{BATCH - 1} images are fewer than one batch of {BATCH}"):
        run(tmp_path / "b", data=tiny_run.images(BATCH - 1))


def test_a_batch_that_the_processes_cannot_share_is_refused(tmp_path):
    with pytest.raises(InputError, match="16 must be divisible by the process count 3"):
        run(tmp_path, place=tiny_run.machine(world=3))


class Failing(TinyObjective):
    """An objective whose loss, or only its gradient, is not finite at one step."""

    def __init__(self, bad_step: int, loss: bool) -> None:
        super().__init__()
        self.bad_step, self.bad_loss = bad_step, loss

    def forward(self, batch: Batch, draw: Draw) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, terms = super().forward(batch, draw)
        if self.steps_made == self.bad_step:
            # The square root of zero is finite; its slope is not.
            bias = self.network.head.bias
            loss = loss * torch.inf if self.bad_loss else loss + (bias - bias.detach()).sum().sqrt()
        return loss, terms


@pytest.mark.parametrize("bad_step", [0, 2, 5, STEPS - 1])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path, bad_step):
    with pytest.raises(InputError) as caught:
        run(tmp_path, checkpoint_seconds=tiny_run.EVERY_STEP, objective=lambda: Failing(bad_step, loss=True))
    rate = RATE * rate_factor(recipe().schedule, bad_step, STEPS)
    message = str(caught.value)
    assert f"step {bad_step} of {STEPS}" in message and f"learning rate {rate:.3g}" in message
    assert "\n" not in message and "gradient_clip" in message

    state = Checkpoints("tiny", "key", leads=False, root=tmp_path).load(torch.device("cpu"))
    if bad_step == 0:
        assert state is None
        return
    assert state["progress"]["step"] == bad_step
    weights = [*state["objective"].values(), *state["average"].values()]
    assert all(torch.isfinite(tensor).all() for tensor in weights)


@pytest.mark.parametrize("bad_step", [5, STEPS - 1])
def test_weights_that_are_not_finite_are_neither_kept_nor_returned(tmp_path, bad_step):
    def objective() -> Failing:
        return Failing(bad_step, loss=False)

    with pytest.raises(InputError, match="not finite"):
        run(tmp_path, checkpoint_seconds=tiny_run.EVERY_STEP, objective=objective, training=recipe(gradient_clip=0.0))
    state = Checkpoints("tiny", "key", leads=False, root=tmp_path).load(torch.device("cpu"))
    assert state["progress"]["step"] == bad_step
    assert all(torch.isfinite(tensor).all() for tensor in state["objective"].values())


def test_a_full_disk_gives_a_warning(tmp_path, monkeypatch, capsys):
    whole = run(tmp_path / "a")

    def save_file(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", save_file)
    trained = run(tmp_path / "b", checkpoint_seconds=tiny_run.EVERY_STEP)
    assert digest(trained.network) == digest(whole.network)
    assert "No space left" in capsys.readouterr().err
    assert not list((tmp_path / "b").rglob("*.safetensors")) and not list((tmp_path / "b").rglob("*.partial"))


# --- Rates, clipping, averages ---


def schedule(name: str, warmup_steps: int) -> Schedule:
    return Schedule(name=name, warmup_steps=warmup_steps)


def test_warm_up_is_linear_and_ends_at_the_full_rate():
    for name in ("constant", "cosine"):
        assert [rate_factor(schedule(name, 4), step, 100) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_a_constant_rate_stays_and_a_cosine_falls_to_zero():
    assert {rate_factor(schedule("constant", 0), step, 100) for step in range(100)} == {1.0}
    factors = [rate_factor(schedule("cosine", 20), step, 120) for step in range(20, 120)]
    assert factors[0] == 1 and factors[50] == pytest.approx(0.5) and factors[25] == pytest.approx((1 + 0.5**0.5) / 2)
    assert factors == sorted(factors, reverse=True) and 0 < factors[-1] < 0.001


def test_a_warm_up_longer_than_the_run_is_no_error():
    assert rate_factor(schedule("cosine", 50), 9, 10) == 0.2
    assert rate_factor(schedule("cosine", 10), 10, 10) == 1.0


def test_a_group_of_constant_rate_ignores_the_schedule():
    class TwoGroups(TinyObjective):
        def parameter_groups(self) -> list[dict]:
            levels, head = self.network.levels.parameters(), self.network.head.parameters()
            return [
                {"params": list(levels), "constant_rate": False},
                {"params": list(head), "constant_rate": True},
            ]

    optimisers = build_optimisers(TwoGroups(), recipe(optimiser=SGD).optimiser)
    set_rates(optimisers, 0.25)
    set_rates(optimisers, 0.5)
    assert [group["lr"] for group in optimisers[0].param_groups] == [0.5 * RATE, RATE]


def test_muon_takes_kernels_and_matrices_and_leaves_all_else_to_adamw():
    objective = TinyObjective()
    optimisers = build_optimisers(objective, recipe(optimiser=MUON).optimiser)
    kernels, others = (optimiser.param_groups[0] for optimiser in optimisers)
    assert all(p.ndim >= 2 for p in kernels["params"]) and all(p.ndim == 1 for p in others["params"])
    assert {id(p) for p in kernels["params"] + others["params"]} == {id(p) for p in objective.parameters()}
    set_rates(optimisers, 0.5)
    assert (kernels["lr"], others["lr"]) == (0.5 * RATE, 0.25 * RATE)


def test_the_history_shows_the_rate_of_the_schedule(tmp_path):
    trained = run(tmp_path)
    last_steps = [STEPS_PER_EPOCH * (epoch + 1) - 1 for epoch in range(EPOCHS)]
    expected = [RATE * rate_factor(recipe().schedule, step, STEPS) for step in last_steps]
    assert [row["learning_rate"] for row in trained.history] == pytest.approx(expected)


def test_clipping_bounds_the_step(tmp_path):
    """Take one step of gradient descent at rate 1, which moves the weights by the gradient."""

    def distance(clip: float, name: str) -> float:
        objective = TinyObjective()
        before = torch.cat([p.detach().flatten().clone() for p in objective.parameters()])
        run(
            tmp_path / name,
            objective=lambda: objective,
            data=tiny_run.images(BATCH),
            training=recipe(
                epochs=1,
                gradient_clip=clip,
                ema_halflife_images=0,
                optimiser=SGD | {"learning_rate": 1.0, "momentum": 0.0},
                schedule={"name": "constant", "warmup_steps": 0},
            ),
        )
        after = torch.cat([p.detach().flatten() for p in objective.parameters()])
        return float((after - before).norm())

    torch.manual_seed(0)
    assert distance(0.0, "free") > 0.1
    assert distance(0.01, "clipped") == pytest.approx(0.01, rel=1e-3)
    assert distance(1e6, "loose") > 0.1


class OneNumber(nn.Module):
    """A network of one weight and one buffer."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([value], dtype=torch.float64))
        self.register_buffer("count", torch.tensor([value]))


def test_the_average_forgets_half_in_a_half_life():
    average = WeightAverage(OneNumber(0.0), halflife_images=1000)
    network = OneNumber(1.0)
    for _ in range(10):
        average.update(network, images_seen=10**9, batch_size=100)
    assert average.network.weight.item() == pytest.approx(0.5)
    assert average.network.count.item() == 1.0


def test_the_average_of_a_ramp_equals_the_weighted_sum():
    """Use a half-life of 5 % of the images seen, and the definition of the exponential average."""
    average = WeightAverage(OneNumber(7.0), halflife_images=10**12)
    weights = {0: 1.0}
    for step in range(1, 31):
        average.update(OneNumber(float(step)), images_seen=64 * step, batch_size=64)
        decay = 0.5 ** (64 / (0.05 * 64 * step))
        weights = {made: weight * decay for made, weight in weights.items()} | {step: 1 - decay}
    expected = sum(weight * (made or 7.0) for made, weight in weights.items())
    assert sum(weights.values()) == pytest.approx(1) and weights[0] < 1e-9
    assert average.network.weight.item() == pytest.approx(expected, rel=1e-9)


def test_the_average_takes_no_gradient_and_leaves_the_network_alone():
    network = OneNumber(1.0)
    average = WeightAverage(network, halflife_images=100)
    average.update(OneNumber(2.0), 10**6, 100)
    assert network.weight.item() == 1.0 and not any(p.requires_grad for p in average.network.parameters())


# --- Precision ---


@pytest.mark.parametrize(
    ("wish", "capabilities", "precision"),
    [
        ("auto", {"avx512_bf16": True, "amx_bf16": False}, "bfloat16"),
        ("auto", {"amx_bf16": True}, "bfloat16"),
        ("auto", {"avx512_f": True, "avx512_bf16": False}, "float32"),
        ("auto", {}, "float32"),
        ("float32", {"avx512_bf16": True}, "float32"),
        ("bfloat16", {}, "bfloat16"),
    ],
)
def test_a_cpu_takes_bfloat16_where_it_has_instructions_for_it(wish, capabilities, precision, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    runtime = Runtime(launch="python", device="cpu", precision=wish, threads=1, compile=False, checkpoint_seconds=60.0)
    with machine(runtime) as place:
        assert place.describe()["precision"] == precision
        with place.autocast():
            product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == place.dtype


# --- A stage, from its dataset to its outputs ---

RUNTIME = Runtime(launch="python", device="cpu", precision="float32", threads=1, compile=False, checkpoint_seconds=60.0)


def train_stage(name: str, build: Callable[[Dataset], tuple[Objective, dict]], seed: int = 0, seeds: int = 1) -> None:
    """Run a stage on the tiny images, in the current folder."""
    split = Split(tiny_run.images().images.numpy(), np.arange(IMAGES) % 2)
    save(Dataset(split, split, ["a", "b"], "drawn", "none"), "data")
    settings = {"runtime": RUNTIME, "training": recipe(), "data": Path("data"), "identity": {}}
    run_stage(Stage(name, seed, **settings, build=build, seeds=seeds, snapshot_epochs=(1, 3)))


def weights(folder: str) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in Path(folder).rglob("*.safetensors")}


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_stage_writes_its_files_and_the_same_ones_again(tmp_path, monkeypatch, seeds):
    monkeypatch.chdir(tmp_path)
    models = set()
    for _ in range(2):
        train_stage("ssl/tiny", lambda dataset: (TinyObjective(), {"network": {}}), seeds=seeds)
        model = Path("models/ssl/tiny/model.safetensors").read_bytes()
        names = ["epoch_0001.safetensors", "epoch_0003.safetensors"]
        assert sorted(weights("snapshots/ssl/tiny")) == names + [f"seed_1/{name}" for name in names if seeds == 2]
        assert weights("snapshots/ssl/tiny")["epoch_0003.safetensors"] == model
        history = pd.read_csv("plots/ssl/tiny_training.csv")
        assert history["variant"].unique().tolist() == ["tiny"] and len(history) == EPOCHS * seeds
        times = pd.read_csv("plots/ssl/tiny_timing.csv")
        assert len(times) == EPOCHS * seeds and (times["cpu_seconds"] > 0).all()
        timing = json.loads(Path("metrics/timing/ssl/tiny.json").read_text())
        assert math.isfinite(timing["seconds_per_epoch"]) and timing["resumed"] == 0
        assert not list(Path("checkpoints").rglob("*.safetensors"))
        models.add(model)
    assert len(models) == 1
    TinyNetwork().load_state_dict(load_file("models/ssl/tiny/model.safetensors"))


def test_a_vae_with_two_seeds_leaves_two_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sizes = {"image_shape": [3, 8, 8], "channels": [4, 8], "latents": 3}
    train_stage("vae", lambda dataset: (VAEObjective(VAE(**sizes), 0.5), {"network": sizes}), seed=3, seeds=2)
    models = weights("models/vae")
    assert sorted(models) == ["model.safetensors", "seed_4/model.safetensors"] and len(set(models.values())) == 2
    for folder, seed in {"models/vae": 3, "models/vae/seed_4": 4}.items():
        _, config = load_model(Path(folder), VAE, torch.device("cpu"))
        assert (config["stage"], config["seed"], config["classes"]) == ("vae", seed, ["a", "b"])
    assert len(weights("snapshots/vae")) == 4
    assert pd.read_csv("plots/vae/training.csv")["seed"].tolist() == [3] * EPOCHS + [4] * EPOCHS
    params = read(ROOT / "params.yaml", vae=VAEParams, ddpm=DDPMParams)
    assert (params.vae.seeds, params.ddpm.seeds) == (1, 1)
    assert validate(VAEParams, params.vae.model_dump() | {"seeds": 2}, "vae", ROOT / "params.yaml").seeds == 2
