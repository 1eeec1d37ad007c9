"""AsymSiam (Wang et al., CVPR 2022, arXiv:2204.00613): SimSiam with different kinds of views for its two branches.

The source is the branch with predictor and gradient, the target the one with the stop-gradient. More variance helps
the source, less helps the target.
"""

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from pydantic import Field, create_model
from torch import Tensor

from triptych.core.schema import Count, Section, overlaid
from triptych.machine.randomness import Draw
from triptych.ssl.shared.network import SiameseNetwork, constant_for_predictor, negative_cosine, spread
from triptych.ssl.shared.params import AreaShare, Pair, SSLRecipe, ViewParams
from triptych.ssl.shared.views import Views
from triptych.training.objective import Batch, Objective

# From images (B, C, H, W) to one view of each.
Augmentation = Callable[[Tensor, Draw], Tensor]


def changes_of(section: type[Section]) -> type[Section]:
    """Return the section with every key optional at any depth; values are checked as in the section."""
    fields = {}
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            annotation = changes_of(annotation)
        if field.metadata:
            annotation = Annotated[annotation, *field.metadata]
        fields[name] = (annotation | None, None)
    return create_model(f"{section.__name__}Changes", __base__=Section, **fields)


class ViewChanges(changes_of(ViewParams)):
    """Changes of an augmentation: any of the keys of `ViewParams`; None for a key that is not changed."""

    def applied(self, views: ViewParams) -> ViewParams:
        """Return the augmentation with these changes."""
        return ViewParams.model_validate(overlaid(views.model_dump(), self.model_dump(exclude_none=True)))


class Recipe(SSLRecipe):
    """Settings of AsymSiam; projector and predictor are SimSiam's. Without asymmetry it is SimSiam in one direction.

    Attributes:
        predictor_hidden: size of the bottleneck of the predictor.
        source, target: changes of `views` for each branch; empty for none ("AsymAug").
        source_views: full source views per image, each with its own term of the loss. Two give as many gradients per
            image as SimSiam's symmetric loss; the paper has one.
        scale_mix: True mixes each full source view from two views ("ScaleMix").
        mean_encodings: views whose encodings the target averages ("MeanEnc"); 1 for one view.
        small_crops: additional small source views ("MultiCrop"); 0 for none.
        small_crop_scale: [low, high] share of the image's area in a small view, instead of `crop_scale`.
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

    No target view is also a source, so fewer views need gradients than in SimSiam's symmetric loss. The authors' code
    applies such views to MoCo v2; here the method is SimSiam, without momentum encoder and negatives. Batch norm uses
    the statistics of each view.

    Args:
        network: SimSiam's.
        sources: one augmentation per full source view.
        targets: one augmentation per target view.
        small: one augmentation per small source view.
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
        """Return the loss, in [-1, 1], and its terms.

        Terms: `full_views` and, if there are any, `small_crops`, the mean losses of the full and the small source
        views; `embedding_std` of the first source view, see `spread`.
        """
        source_views, small_views, target_views = (
            [augmentation(batch.images, draw) for augmentation in augmentations]
            for augmentations in (self.sources, self.small, self.targets)
        )
        encoded = self.network.each(*source_views)
        if small_views:
            encoded += self.network.each(*small_views)
        z = self._mean_encoding(target_views)
        losses = torch.stack([negative_cosine(p.float(), z) for _, p in encoded])
        full, small = losses.detach().tensor_split([len(self.sources)])
        terms = {"full_views": full.mean()} | ({"small_crops": small.mean()} if self.small else {})
        return losses.mean(), terms | {"embedding_std": spread(encoded[0][0].float())}

    @torch.no_grad()
    def _mean_encoding(self, views: Sequence[Tensor]) -> Tensor:
        """Return the mean (B, dim) of the views' encodings as they are; the cosine then normalises the mean."""
        return torch.stack([z for z, _ in self.network.each(*views)]).float().mean(dim=0)

    def parameter_groups(self) -> list[dict]:
        """Keep the predictor's learning rate constant, as in SimSiam."""
        return constant_for_predictor(self)


class ScaleMix:
    """Augmentation that pastes a box of a second view of the same image into a first one.

    The box is CutMix's (Yun et al. 2019, arXiv:1905.04899): λ ~ U(0, 1), its sides are sqrt(1 - λ) of the image's, and
    its centre is uniform in the image, whose border cuts it off. Each image has its own λ.
    """

    def __init__(self, views: Augmentation) -> None:
        self.views = views

    @torch.no_grad()
    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        """Return one mixed view of each image: (B, C, H, W) -> (B, C, H, W)."""
        first, second = self.views(images, draw), self.views(images, draw)
        lam, down, across = draw.uniform((len(images), 3)).unbind(1)
        side = (1 - lam).sqrt()
        height, width = first.shape[-2:]
        rows, columns = inside(down, side, height), inside(across, side, width)
        return torch.where(rows[:, None, :, None] & columns[:, None, None, :], second, first)


def inside(centre: Tensor, side: Tensor, size: int) -> Tensor:
    """Return a mask (B, size) of the pixels of an axis whose middle lies within half a side of the centre.

    `centre` and `side` (B,) are shares of the axis, which has `size` pixels.
    """
    pixel = (torch.arange(size, device=centre.device) + 0.5) / size
    return (pixel - centre[:, None]).abs() < side[:, None] / 2


def build(recipe: Recipe, in_channels: int) -> tuple[AsymSiam, dict]:
    """Return the objective of a recipe and the keyword arguments that rebuild its network."""
    sizes = recipe.network_sizes(in_channels, last_norm=True, predictor_hidden=recipe.predictor_hidden)
    source, target = recipe.source.applied(recipe.views), recipe.target.applied(recipe.views)
    full = ScaleMix(Views(source)) if recipe.scale_mix else Views(source)
    small = Views(source.model_copy(update={"crop_scale": recipe.small_crop_scale}), size=recipe.small_crop_size)
    objective = AsymSiam(
        SiameseNetwork(**sizes),
        sources=[full] * recipe.source_views,
        targets=[Views(target)] * recipe.mean_encodings,
        small=[small] * recipe.small_crops,
    )
    return objective, sizes
