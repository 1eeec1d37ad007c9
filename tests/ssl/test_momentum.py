"""The momentum encoder follows the encoder by τ a step, never learns by itself, and outlives an interruption."""

import copy
import math

import pytest
import torch
from test_simsiam import TwoViews, batch, draw, method, network
from torch import nn

from triptych.machine.device import Machine
from triptych.ssl.methods.byol import BYOL, Recipe, momentum_at
from triptych.ssl.methods.simsiam import SimSiam
from triptych.ssl.shared.network import MomentumEncoder
from triptych.training.checkpoint import Checkpoints
from triptych.training.loop import Plan, Trainer
from triptych.training.objective import Objective, Resident
from triptych.training.params import Training
from triptych.training.processes import globalise

pytestmark = pytest.mark.usefixtures("one_thread")

TRAINING = {
    "epochs": 2,
    "batch_size": 8,
    "optimiser": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.001},
    "schedule": {"name": "cosine", "warmup_steps": 0},
    "gradient_clip": 0.0,
    "ema_halflife_images": 0.0,
}


def shifted(net: nn.Module) -> nn.Module:
    """A copy with other weights."""
    other = copy.deepcopy(net)
    with torch.no_grad():
        for index, parameter in enumerate(other.parameters()):
            stream = torch.Generator().manual_seed(index)
            parameter.add_(torch.randn(parameter.shape, generator=stream))
    return other


def test_it_starts_as_a_copy_and_draws_nothing():
    net = network().train()
    before = torch.get_rng_state()
    encoder = MomentumEncoder(net).train()
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(encoder(batch().images)[0], net(batch().images)[0])
    assert not {id(p) for p in encoder.parameters()} & {id(p) for p in net.parameters()}


def test_no_gradient_reaches_it():
    encoder = MomentumEncoder(network())
    assert not any(p.requires_grad for p in encoder.parameters())
    assert not any(z.requires_grad for z in encoder(batch().images.requires_grad_()))


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9, 1.0])
def test_a_step_moves_it_by_one_less_the_momentum(momentum):
    net = network()
    encoder, online = MomentumEncoder(net), shifted(net)
    before = {name: p.clone().double() for name, p in encoder.named_parameters()}
    theirs = dict(online.named_parameters())
    encoder.update(online, momentum)
    for name, parameter in encoder.named_parameters():
        expected = momentum * before[name] + (1 - momentum) * theirs[name].double()
        torch.testing.assert_close(parameter.double(), expected, rtol=1e-6, atol=1e-6)
        assert not parameter.requires_grad and theirs[name].requires_grad
    if momentum == 1:
        assert all(torch.equal(p.double(), before[name]) for name, p in encoder.named_parameters())
    if momentum == 0:
        assert all(torch.equal(p, theirs[name]) for name, p in encoder.named_parameters())


def test_its_running_statistics_are_its_own():
    net = network().train()
    encoder = MomentumEncoder(net).train()
    before = {name: b.clone() for name, b in encoder.named_buffers()}
    net(batch().images)
    encoder.update(net, 0.5)
    assert all(torch.equal(b, before[name]) for name, b in encoder.named_buffers())
    encoder(batch().images)
    assert not any(torch.equal(b, before[name]) for name, b in encoder.named_buffers())


def test_the_momentum_rises_by_half_a_cosine():
    base, K = 0.9, 40
    for k in range(K + 1):
        papers = 1 - (1 - base) * (math.cos(math.pi * k / K) + 1) / 2
        assert momentum_at(base, 1.0, k / K) == pytest.approx(papers, abs=1e-12)
    assert momentum_at(0.9, 0.98, 0.0) == pytest.approx(0.9)
    assert momentum_at(0.9, 0.98, 0.5) == pytest.approx(0.94)
    assert momentum_at(0.9, 0.98, 1.0) == pytest.approx(0.98)
    assert all(momentum_at(0.95, 0.95, share) == pytest.approx(0.95) for share in (0.1, 0.5, 1.0))


# --- Within a method ---


def byol() -> BYOL:
    return BYOL(network(), TwoViews(), Recipe.model_construct(momentum=0.5, momentum_end=1.0))


def simsiam(**changes: object) -> SimSiam:
    return method(network(), **{"momentum": 0.5} | changes)


@pytest.mark.parametrize("make", [byol, simsiam])
def test_what_is_optimised_leaves_it_out_in_one_process_and_in_several(make):
    for prepare in (lambda objective: objective, globalise):
        objective = prepare(make())
        (encoder,) = (module for module in objective.modules() if isinstance(module, MomentumEncoder))
        optimised = {id(p) for group in objective.parameter_groups() for p in group["params"]}
        assert optimised == {id(p) for p in objective.network.parameters()}
        # Parameters that require gradients and get none would break training in several processes.
        assert not any(p.requires_grad for p in encoder.parameters())


def test_a_fixed_predictor_stays_fixed_in_several_processes():
    fixed = globalise(simsiam(predictor="fixed_random"))
    optimised = {id(p) for group in fixed.parameter_groups() for p in group["params"]}
    assert not optimised & {id(p) for p in fixed.network.predictor.parameters()}
    assert not any(p.requires_grad for p in fixed.network.predictor.parameters())


class KilledError(Exception):
    """Interruption of a run."""


def trained(objective: Objective, root, interrupted_after: int = 0) -> Objective:
    """After a short run, with a checkpoint a step, under `root`."""
    steps, moves = [], objective.after_step

    def after_step(progress: float) -> None:
        moves(progress)
        steps.append(progress)
        if len(steps) == interrupted_after:
            raise KilledError

    objective.after_step = after_step
    pixels = torch.randint(0, 256, (24, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Trainer(
        objective,
        Resident(pixels, torch.zeros(24, dtype=torch.int64)),
        Training.model_validate(TRAINING),
        Plan("tiny", 0, checkpoint_seconds=1e-9),
        Machine(torch.device("cpu"), torch.float32, 1, 0, 1),
        Checkpoints("tiny", "key", True, root),
    ).run()
    return objective


@pytest.mark.parametrize("make", [byol, simsiam])
def test_a_resumed_run_ends_with_the_same_bits(make, tmp_path):
    whole = trained(make(), tmp_path / "whole").state_dict()
    with pytest.raises(KilledError):
        trained(make(), tmp_path / "halves", interrupted_after=4)
    resumed = trained(make(), tmp_path / "halves").state_dict()
    assert any(name.startswith(("target.", "momentum_encoder.")) for name in whole)
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())


@pytest.mark.parametrize("make", [byol, simsiam])
def test_the_loss_changes_the_encoder_alone(make):
    objective = make().train()
    (encoder,) = (module for module in objective.modules() if isinstance(module, MomentumEncoder))
    loss, _ = objective(batch(), draw())
    loss.backward()
    assert all(p.grad is None for p in encoder.parameters())
    assert all(p.grad is not None for p in objective.network.parameters())
