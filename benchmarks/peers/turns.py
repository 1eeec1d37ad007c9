"""Turns: who is compared works by turns, so that a busy moment of the machine hits neighbours alike."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from benchmarks.peers.contestant import Contestant

SIEVE = 2  # rounds after which a setting that cannot be a peer's best takes no more time
NEAR = 0.85  # of the fastest: what other settings must reach


@dataclass(frozen=True)
class Duel:
    """Images a second of ours and of a peer, turn by turn, each of ours just before the peer's.

    Attributes:
        peer: the peer.
        ours, theirs: of each pair of turns.
    """

    peer: Contestant
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """How many times as many images ours sees, of each pair."""
        return [mine / other for mine, other in zip(self.ours, self.theirs, strict=True)]

    @property
    def speed(self) -> float:
        """The peer's median, images a second."""
        return statistics.median(self.theirs)


def turn(contestant: Contestant, steps: int, clock: Callable[[], float], wait: Callable[[], None]) -> float:
    """Images a second over some steps. A step before them is not timed: in it DataLoader's workers awake."""
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
    """A duel with each peer, all in one run; peers far behind the fastest are left out after `SIEVE` rounds.

    Args:
        ours, peers: who takes part.
        rounds: pairs of turns of each duel, after one more to warm up.
        steps: of a turn that are timed, see `turn`.
        clock: seconds.
        wait: until the device has finished.
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
    """The duel with the peer's best setting, which is the one that counts, of those that were not left out."""
    pairs = max(len(duel.theirs) for duel in duels)
    return max((duel for duel in duels if len(duel.theirs) == pairs), key=lambda duel: duel.speed)


def summary(duels: Sequence[Duel], gflop: tuple[float, float] | None = None) -> dict:
    """Numbers of one peer at all its settings, and against ours at its best.

    Args:
        duels: with the same peer at its settings, from one run.
        gflop: of ours and of the peer, 10^9 operations an image, where networks differ.

    Returns:
        Medians, images a second (and with `gflop` GFLOP/s), and the ratio's median and quartiles.
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
