"""AsymSiam (Wang et al., CVPR 2022, arXiv:2204.00613): SimSiam whose two branches see different kinds of views.

The source is the branch with predictor and gradient, the target the one with the stop-gradient. More variance helps
the source, less helps the target.
"""

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from triptych.core.schema import Count
from triptych.machine.randomness import Draw
from triptych.ssl.shared.network import SiameseNetwork, constant_for_predictor, negative_cosine, spread
from triptych.ssl.shared.params import AreaShare, Pair, SSLRecipe, ViewChanges
from triptych.ssl.shared.views import Views
from triptych.training.objective import Batch, Objective

# From images (B, C, H, W) to a view of each.
Augmentation = Callable[[Tensor, Draw], Tensor]


class Recipe(SSLRecipe):
    """What AsymSiam is made of. With nothing asymmetric it is SimSiam with one direction of the loss.

    Attributes:
        projector_hidden, projector_dim: sizes of the projector, SimSiam's.
        predictor_hidden: size of the bottleneck of the predictor, SimSiam's.
        source, target: what the views of a branch differ by from `views`; empty for the same ("AsymAug").
        source_views: full views that the source has of an image, each with its own term of the loss. Two give as many
            gradients for an image as SimSiam's symmetric loss; the paper's loss has one.
        scale_mix: whether the source view is mixed of two ("ScaleMix").
        mean_encodings: views whose encodings the target averages ("MeanEnc"); 1 for one view.
        small_crops: small views that the source has besides ("MultiCrop"); 0 for none.
        small_crop_scale: [low, high] share of the image's area that a small view covers, in place of `crop_scale`.
        small_crop_size: side of a small view in pixels.
    """

    predictor_hidden: Count
    source: ViewChanges
    target: ViewChanges
    source_views: Count
    scale_mix: bool
    mean_encodings: Count
    small_crops: Annotated[int, Field(ge=0)]
    small_crop_scale: Annotated[list[AreaShare], *Pair]
    small_crop_size: Count


class AsymSiam(Objective):
    """L = mean over the source views s of D(p_s, stopgrad(z)), z the mean encoding of the target views.

    One direction: no view of the target is a source too, so that fewer views need gradients than in SimSiam's
    symmetric loss. The authors' code is of MoCo v2 with such views; here they are SimSiam's, without momentum encoder
    and without negatives. Batch norm takes its statistics per view.
    The predictor keeps a constant learning rate, as SimSiam's.

    Args:
        network: SimSiam's.
        sources: makes the full views of the source.
        targets: makes the views of the target.
        small: makes the small views of the source.
    """

    def __init__(
        self,
        network: SiameseNetwork,
        sources: Sequence[Augmentation],
        targets: Sequence[Augmentation],
        small: Sequence[Augmentation] = (),
    ) -> None:
        super().__init__()
        self.network, self.sources, self.targets, self.small = network, sources, targets, small

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, in [-1, 1].

        Terms: `full_views`, the mean loss of the full source views; `small_crops`, that of the small ones where there
        are any; `embedding_std` as SimSiam's, of the first source view.
        """
        source_views, small_views, target_views = (
            [augmentation(batch.images, draw) for augmentation in kind]
            for kind in (self.sources, self.small, self.targets)
        )
        encoded = self.network.each(*source_views)
        if small_views:
            encoded += self.network.each(*small_views)
        z = self._target(target_views)
        losses = torch.stack([negative_cosine(p.float(), z) for _, p in encoded])
        full, small = losses.detach().tensor_split([len(self.sources)])
        terms = {"full_views": full.mean()} | ({"small_crops": small.mean()} if self.small else {})
        return losses.mean(), terms | {"embedding_std": spread(encoded[0][0].float())}

    @torch.no_grad()
    def _target(self, views: Sequence[Tensor]) -> Tensor:
        """(B, dim): the encoder is SimSiam's one encoder, and its batch norm takes the statistics of each view."""
        return mean_encoding([z for z, _ in self.network.each(*views)])

    def parameter_groups(self) -> list[dict]:
        """The predictor keeps a constant learning rate."""
        return constant_for_predictor(self)


def mean_encoding(encodings: Sequence[Tensor]) -> Tensor:
    """The mean of encodings, each (B, dim), as they are: the cosine normalises the mean, nothing each encoding."""
    return torch.stack(list(encodings)).float().mean(dim=0)


class ScaleMix:
    """One view mixed of two of the same image: a box of the second is pasted into the first.

    As CutMix (Yun et al. 2019, arXiv:1905.04899): λ ~ U(0, 1), the box's sides are sqrt(1 - λ) of the image's and its
    centre is uniform in the image, beyond whose border it is cut off. Each image has a λ of its own.

    Args:
        views: makes both.
    """

    def __init__(self, views: Augmentation) -> None:
        self.views = views

    @torch.no_grad()
    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        first, second = self.views(images, draw), self.views(images, draw)
        lam, down, across = draw.uniform((len(images), 3)).unbind(1)
        side = (1 - lam).sqrt()
        height, width = first.shape[-2:]
        rows, columns = inside(down, side, height), inside(across, side, width)
        return torch.where(rows[:, None, :, None] & columns[:, None, None, :], second, first)


def inside(centre: Tensor, side: Tensor, size: int) -> Tensor:
    """(B, size) bool: the pixels whose middle lies within half a side of the centre, along one axis.

    Args:
        centre, side: (B,) in shares of the axis.
        size: pixels along the axis.
    """
    pixel = (torch.arange(size, device=centre.device) + 0.5) / size
    return (pixel - centre[:, None]).abs() < side[:, None] / 2


def build(recipe: Recipe, in_channels: int) -> tuple[AsymSiam, dict]:
    """The objective of a recipe, and the keyword arguments that rebuild its network."""
    sizes = recipe.network_sizes(in_channels, last_norm=True, predictor_hidden=recipe.predictor_hidden)
    objective = AsymSiam(SiameseNetwork(**sizes), sources(recipe), targets(recipe), small_crops(recipe))
    return objective, sizes


def sources(recipe: Recipe) -> list[Augmentation]:
    """What makes the source's full views, mixed or not."""
    full = Views(recipe.source.applied(recipe.views))
    return [ScaleMix(full) if recipe.scale_mix else full] * recipe.source_views


def small_crops(recipe: Recipe) -> list[Augmentation]:
    """What makes the source's small views."""
    params = recipe.source.applied(recipe.views).model_copy(update={"crop_scale": recipe.small_crop_scale})
    return [Views(params, size=recipe.small_crop_size)] * recipe.small_crops


def targets(recipe: Recipe) -> list[Augmentation]:
    """What makes the target's views, one for each encoding that is averaged."""
    return [Views(recipe.target.applied(recipe.views))] * recipe.mean_encodings
