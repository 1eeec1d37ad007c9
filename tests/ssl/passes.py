"""Watch the views that pass through a network of the third study, however many pass at once."""

from torch import Tensor, nn

from triptych.nn.fast import norm


def watched(network: nn.Module) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return a list that fills with (view, projection, prediction) as views pass."""
    seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def hook(module: nn.Module, inputs: tuple, outputs: tuple[Tensor, Tensor]) -> None:
        seen.extend(zip(*(tensor.chunk(norm._groups) for tensor in (inputs[0], *outputs)), strict=True))

    network.register_forward_hook(hook)
    return seen
