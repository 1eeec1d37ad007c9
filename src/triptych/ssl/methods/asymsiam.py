"""AsymSiam (Wang et al., CVPR 2022, arXiv:2204.00613): SimSiam with different views for its two branches.

The source branch has the predictor and receives gradients; the target branch has the stop-gradient. The paper finds
that views should vary more in the source branch and less in the target branch.
"""

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from pydantic import Field, create_model
from torch import Tensor

from triptych.core.schema import Bounds, Count, Section, overlaid
from triptych.machine.randomness import Draw
from triptych.ssl.shared.network import SiameseNetwork, constant_for_predictor, negative_cosine, spread
from triptych.ssl.shared.params import AreaShare, SSLRecipe, ViewParams
from triptych.ssl.shared.views import Views
from triptych.training.objective import Batch, Objective

# Maps images (B, C, H, W) to one view of each image.
Augmentation = Callable[[Tensor, Draw], Tensor]


def changes_of(section: type[Section]) -> type[Section]:
    """Return a copy of a schema in which every key is optional, at any depth. Values are still validated."""
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
    """Changes to the augmentation settings of one branch. Keys of `ViewParams` that do not change are None."""

    def applied(self, views: ViewParams) -> ViewParams:
        return ViewParams.model_validate(overlaid(views.model_dump(), self.model_dump(exclude_none=True)))


class Recipe(SSLRecipe):
    """Settings of AsymSiam. Without any asymmetry, AsymSiam is SimSiam with only the first term of SimSiam's loss."""

    predictor_hidden: Count
    source: ViewChanges  # changes of `views` for the source branch ("AsymAug"); {} for none
    target: ViewChanges  # changes of `views` for the target branch
    source_views: Count  # 1 in the paper; 2 compute as many gradients as SimSiam's symmetric loss
    scale_mix: bool  # combine two views into each full source view ("ScaleMix")
    mean_encodings: Count  # number of target views whose encodings are averaged ("MeanEnc")
    small_crops: Annotated[int, Field(ge=0)]  # additional small source views ("MultiCrop")
    small_crop_scale: Annotated[list[AreaShare], *Bounds]
    small_crop_size: Count  # side in pixels


class AsymSiam(Objective):
    """L = mean over source views s of D(p_s, stopgrad(z)), where z is the mean encoding of the target views.

    D is `negative_cosine`, and p_s is the prediction for s. `sources`, `targets` and `small` contain one augmentation
    per view; those of `small` make additional source views from small crops. Target views need no gradients, unlike in
    SimSiam's symmetric loss. The authors' code applies asymmetric views to MoCo v2; here they are applied to SimSiam,
    which has no momentum encoder and no negatives. Batch norm uses the statistics of each view.
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
        """Return the loss, and a dict: mean loss of full views, mean loss of small crops, and embedding std."""
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
        return torch.stack([z for z, _ in self.network.each(*views)]).float().mean(dim=0)

    def parameter_groups(self) -> list[dict]:
        return constant_for_predictor(self)


class ScaleMix:
    """Augmentation that makes two views of each image and pastes a box of the second into the first.

    The box is drawn as in CutMix (Yun et al. 2019, arXiv:1905.04899). λ ~ U(0, 1) is drawn for each image. The sides
    are sqrt(1 - λ) times those of the image, and the centre is uniform. Parts of the box outside the image are cut off.
    """

    def __init__(self, views: Augmentation) -> None:
        self.views = views

    @torch.no_grad()
    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        first, second = self.views(images, draw), self.views(images, draw)
        lam, down, across = draw.uniform((len(images), 3)).unbind(1)
        side = (1 - lam).sqrt()
        height, width = first.shape[-2:]
        rows, columns = inside(down, side, height), inside(across, side, width)
        return torch.where(rows[:, None, :, None] & columns[:, None, None, :], second, first)


def inside(centre: Tensor, side: Tensor, size: int) -> Tensor:
    """Return a mask, of shape (B, size), of the pixels along an axis that lie within `side` / 2 of `centre`.

    `centre` and `side`, of shape (B,), are fractions of the length of the axis.
    """
    pixel = (torch.arange(size, device=centre.device) + 0.5) / size
    return (pixel - centre[:, None]).abs() < side[:, None] / 2


def build(recipe: Recipe, in_channels: int) -> tuple[AsymSiam, dict]:
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
