"""What passes a network of the third study, view by view, however many pass it at once."""

from torch import Tensor, nn


def watched(network: nn.Module) -> list[tuple[Tensor, Tensor, Tensor]]:
    """A list that fills as views pass: of each the view, its projection and its prediction."""
    seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def hook(module: nn.Module, inputs: tuple, outputs: tuple[Tensor, Tensor]) -> None:
        images, views = inputs if len(inputs) == 2 else (inputs[0], 1)
        seen.extend(zip(*(tensor.chunk(views) for tensor in (images, *outputs)), strict=True))

    network.register_forward_hook(hook)
    return seen
