"""What every method looks like to the training loop."""

from dataclasses import dataclass

from torch import Tensor, nn

from triptych.machine.randomness import Draw


@dataclass(frozen=True)
class Batch:
    """One process's rows of a global batch.

    Attributes:
        images: (B, C, H, W) float in [-1, 1].
        labels: (B,) int64; -1 where unlabelled. Methods without labels ignore them.
    """

    images: Tensor
    labels: Tensor


class Objective(nn.Module):
    """A method: the network that it trains and its loss.

    Subclasses set `network` (what is saved and evaluated) and implement `forward(batch, draw)`, which returns the
    scalar loss and its named terms as detached scalars. All randomness comes from `draw`.
    """

    network: nn.Module

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss on a batch and its terms."""
        raise NotImplementedError

    def parameter_groups(self) -> list[dict]:
        """Optimiser groups; a group with `constant_rate: True` is left out of the learning rate's schedule."""
        return [{"params": [p for p in self.parameters() if p.requires_grad], "constant_rate": False}]

    def after_step(self, progress: float) -> None:
        """Called after each optimiser step with the share of the run that is done, in (0, 1]."""
