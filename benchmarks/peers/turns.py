"""Alternating measurements, so that other load on the machine affects both contestants."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from benchmarks.peers.contestant import Contestant

SIEVE = 2  # rounds after which slow settings of a peer are dropped
NEAR = 0.85  # speed relative to the fastest that a setting must reach


@dataclass(frozen=True)
class Duel:
    """Images per second of ours and of a peer, measured in alternation, ours first.

    Attributes:
        peer: the peer.
        ours, theirs: images per second in each round.
    """

    peer: Contestant
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Speed of ours relative to the peer, per round."""
        return [mine / other for mine, other in zip(self.ours, self.theirs, strict=True)]

    @property
    def speed(self) -> float:
        """Median speed of the peer, in images per second."""
        return statistics.median(self.theirs)


def turn(contestant: Contestant, steps: int, clock: Callable[[], float], wait: Callable[[], None]) -> float:
    """Return images per second over some steps, after one untimed step in which DataLoader's workers wake up."""
    torch.set_num_threads(contestant.threads)
    contestant.step()
    wait()
    start = clock()
    for _ in range(steps):
        contestant.step()
    wait()
    return steps * contestant.images / (clock() - start)


def compare(
    ours: Contestant,
    peers: Sequence[Contestant],
    rounds: int,
    steps: int,
    clock: Callable[[], float] = time.perf_counter,
    wait: Callable[[], None] = lambda: None,
) -> list[Duel]:
    """Measure ours against each peer in one run. Peers far behind the fastest are dropped after `SIEVE` rounds.

    Args:
        ours, peers: contestants.
        rounds: rounds after a warm-up round.
        steps: timed steps per turn, see `turn`.
        clock: time in seconds.
        wait: function that waits for the device.
    """
    duels = left = [Duel(peer) for peer in peers]
    for number in range(1 + rounds):
        for duel in left:
            pair = [turn(contestant, steps, clock, wait) for contestant in (ours, duel.peer)]
            if number:
                duel.ours.append(pair[0])
                duel.theirs.append(pair[1])
        if number == SIEVE:
            least = NEAR * fastest(duels).speed
            left = [duel for duel in duels if duel.speed >= least]
    return duels


def fastest(duels: Sequence[Duel]) -> Duel:
    """Return the duel with the fastest setting of the peer among those that were not dropped."""
    pairs = max(len(duel.theirs) for duel in duels)
    return max((duel for duel in duels if len(duel.theirs) == pairs), key=lambda duel: duel.speed)


def summary(duels: Sequence[Duel], gflop: tuple[float, float] | None = None) -> dict:
    """Return the results of a peer with all settings, and of its fastest setting against ours.

    Args:
        duels: duels with the settings of one peer, from one run.
        gflop: GFLOP per image of ours and of the peer, if their networks differ.

    Returns:
        Median images per second (and GFLOP/s with `gflop`), with median and quartiles of the ratio.
    """
    best = fastest(duels)
    numbers = {
        "triptych": statistics.median(best.ours),
        "peer": best.speed,
        **_spread("ratio", best.ratios),
        "setting": best.peer.setting,
        "settings": {duel.peer.setting: duel.speed for duel in duels},
    }
    if gflop:
        mine, theirs = gflop
        numbers |= {"triptych_gflop_per_image": mine, "peer_gflop_per_image": theirs}
        numbers |= {"triptych_gflops": numbers["triptych"] * mine, "peer_gflops": numbers["peer"] * theirs}
        numbers |= _spread("gflops_ratio", [ratio * mine / theirs for ratio in best.ratios])
    return numbers


def _spread(name: str, values: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return {name: middle, f"{name}_low": low, f"{name}_high": high}
