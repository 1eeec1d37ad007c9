"""The comparison with other libraries: turns, medians and tables. It needs none of them, and times nothing."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.pages import read_section
from benchmarks.peers import __main__ as verb
from benchmarks.peers.contestant import Contestant, Ours, Pictures, endless, network_gflop, settings
from benchmarks.peers.page import section
from benchmarks.peers.turns import SIEVE, Duel, compare, summary
from triptych.core.errors import InputError
from triptych.core.schema import read
from triptych.machine.device import Machine
from triptych.vae.model import VAE
from triptych.vae.objective import VAEObjective
from triptych.vae.params import VAEParams

ROOT = Path(__file__).parents[2]
PLACE = Machine(torch.device("cpu"), torch.float32, 1)


class Clock:
    """A clock that steps alone move, and the order in which they came."""

    def __init__(self) -> None:
        self.now, self.order = 0.0, []

    def contestant(self, name: str, images: int, *seconds: float) -> Contestant:
        """Its steps take these seconds, over and over."""
        steps = 0

        def step() -> None:
            nonlocal steps
            self.now += seconds[steps % len(seconds)]
            steps += 1
            self.order.append(name)

        return Contestant(name, images, 1, step)


def test_turns_alternate_and_the_first_step_of_each_is_not_timed(one_thread):
    clock = Clock()
    ours = clock.contestant("ours", 8, 100.0, 0.5, 0.5)
    peers = [clock.contestant("a", 8, 100.0, 1.0, 1.0), clock.contestant("b", 4, 100.0, 0.5, 0.5)]
    duels = compare(ours, peers, rounds=2, steps=2, clock=lambda: clock.now)
    assert clock.order == [name for name in ("ours", "a", "ours", "b") * 3 for _ in range(3)]
    assert [duel.ours for duel in duels] == [[16.0, 16.0]] * 2
    assert [duel.theirs for duel in duels] == [[8.0, 8.0]] * 2
    assert [duel.ratios for duel in duels] == [[2.0, 2.0]] * 2


def test_a_setting_far_behind_the_fastest_takes_no_more_turns(one_thread):
    clock = Clock()
    peers = [clock.contestant(name, 1, seconds) for name, seconds in (("slow", 1.3), ("near", 1.1), ("fast", 1.0))]
    duels = compare(clock.contestant("ours", 1, 1.0), peers, rounds=5, steps=1, clock=lambda: clock.now)
    assert [len(duel.ratios) for duel in duels] == [SIEVE, 5, 5]


def test_the_fastest_setting_counts_and_ratios_are_of_neighbours():
    duels = [
        Duel(Contestant("left out", 1, 1, lambda: None), ours=[9.0], theirs=[9.0]),
        Duel(Contestant("slow", 1, 1, lambda: None), ours=[9.0, 9.0, 9.0], theirs=[1.0, 1.0, 1.0]),
        Duel(Contestant("fast", 1, 1, lambda: None), ours=[2.0, 8.0, 30.0], theirs=[1.0, 2.0, 3.0]),
    ]
    numbers = summary(duels, gflop=(3.0, 6.0))
    assert numbers["setting"] == "fast" and numbers["settings"] == {"left out": 9.0, "slow": 1.0, "fast": 2.0}
    assert (numbers["ratio_low"], numbers["ratio"], numbers["ratio_high"]) == (3.0, 4.0, 7.0)
    assert (numbers["triptych"], numbers["peer"]) == (8.0, 2.0)
    assert (numbers["triptych_gflops"], numbers["peer_gflops"], numbers["gflops_ratio"]) == (24.0, 12.0, 2.0)


class Denoiser(nn.Module):
    """One 1x1 convolution, 3 to 3 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 1)

    def forward(self, images: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        return self.convolution(images) * times[:, None, None, None]


def test_operations_are_those_of_the_forward_and_the_backward_pass():
    """A product and a sum for each weight and pixel; as many for the weights' gradient; images have none."""
    assert network_gflop(Denoiser(), PLACE) == pytest.approx(2 * 2 * 9 * 32 * 32 / 1e9)


def test_peers_get_the_precision_and_the_threads_that_ours_has():
    two = Machine(torch.device("cpu"), torch.bfloat16, 2)
    assert {setting.bfloat16 for setting in settings(PLACE)} == {False}
    found = settings(two, (0, 2))
    assert [setting.bfloat16 for setting in found] == [False, True, True, True, True]
    assert [(setting.threads, setting.workers) for setting in found] == [(2, 2), (2, 2), (2, 0), (1, 2), (2, 2)]
    assert str(found[-2]) == "bfloat16, channels last, fused, 1 thread, 2 workers"


def test_ours_is_the_training_loops_step_over_all_images(one_thread):
    study = read(ROOT / "params.yaml", vae=VAEParams).vae
    recipe = study.training.model_copy(update={"batch_size": 4})
    network = VAE((3, 32, 32), [4, 4], 2)
    before = network.mu.weight.detach().clone()
    images = torch.zeros(8, 3, 32, 32, dtype=torch.uint8)
    ours = Ours(VAEObjective(network, study.likelihood_sigma), images, recipe, PLACE)
    seen = []
    for _ in range(4):
        ours.step()
        seen.append(ours.order)
    assert not torch.equal(network.mu.weight, before)
    assert [a is b for a, b in pairwise(seen)] == [True, False, True]  # a new order each epoch of two steps
    assert all(sorted(order.tolist()) == list(range(8)) for order in seen)


def test_peers_batches_go_on_beyond_an_epoch():
    images = np.arange(6, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)
    batches = endless(Pictures(images, lambda image: image.getpixel((0, 0))[0]), batch_size=3, workers=0)
    epochs = [sorted([*next(batches)[0].tolist(), *next(batches)[0].tolist()]) for _ in range(2)]
    assert epochs == [list(range(6))] * 2


def test_the_tables_show_speeds_ratios_and_the_best_setting():
    duels = [Duel(Contestant("fast", 1, 1, lambda: None), ours=[2000.0, 8000.0], theirs=[1000.0, 2000.0])]
    words = {"title": "DDPM", "unit": "images/s", "peer_name": "a library", "differs": "its network"}
    machine = {"device": "cpu", "processor": "a CPU", "cpus": 2, "precision": "bfloat16", "torch": "2", "commit": None}
    distance = {name: {"value": 1.5, "low": 1.0, "high": 2.0} for name in ("triptych", "diffusers")}
    results = {
        "rounds": 2,
        "ddpm": words | summary(duels, gflop=(0.5, 0.25)),
        "machine": machine | {"peers": {"a library": "1.0"}},
        "quality": {"network_calls": 20, "samples": 2000, "commit": "0123456789+", "minutes_2": distance},
    }
    text = section(results)
    assert (
        "| DDPM | a library | 5,000 images/s | 1,500 images/s | **3.00** (2.50 to 3.50) | fast | its network |" in text
    )
    assert "| a library | 2,500 GFLOP/s | 375 GFLOP/s | **6.00** (5.00 to 7.00) | fast | its network |" in text
    assert "| DDPM | a library | fast | 1,500 images |" in text
    assert "commit 0123456+" in text and "| 2 | 1.50 (1.00 to 2.00) | 1.50 (1.00 to 2.00) |" in text


def test_the_page_holds_the_tables_of_the_committed_numbers_and_none_where_there_are_none():
    results = ROOT / verb.RESULTS
    expected = section(json.loads(results.read_text(encoding="utf-8"))) if results.exists() else ""
    assert read_section(ROOT / verb.PAGE, "peers") == expected.strip()


def test_a_peer_that_is_missing_is_named_in_one_line(monkeypatch):
    monkeypatch.setattr(verb, "PEERS", ("no-such-library",))
    with pytest.raises(
        InputError, match="no-such-library is not installed; install it with .make bench-peers."
    ) as raised:
        verb.versions()
    assert "\n" not in str(raised.value)
