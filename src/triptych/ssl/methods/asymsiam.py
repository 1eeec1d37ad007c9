"""AsymSiam (Wang et al., CVPR 2022, arXiv:2204.00613): SimSiam with a different augmentation for each branch.

The source branch has the predictor and receives gradients. The target branch has the stop-gradient. The paper finds
that views should vary more in the source branch than in the target branch.
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
    """Return a copy of the schema `section` in which all keys are optional, also in nested sections."""
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
    """Changes to the augmentation settings of one branch. None means that a setting does not change."""

    def applied(self, views: ViewParams) -> ViewParams:
        return ViewParams.model_validate(overlaid(views.model_dump(), self.model_dump(exclude_none=True)))


class Recipe(SSLRecipe):
    """Settings of AsymSiam. If every asymmetry is disabled, AsymSiam is SimSiam with `symmetric: false`."""

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
    """Loss of AsymSiam: the mean over source views s of D(p_s, stopgrad(z)).

    D is `negative_cosine`, p_s is the prediction for view s, and z is the mean projection of the target views.
    `sources`, `targets` and `small` contain one augmentation per view. `small` makes source views from small crops.
    Full views and small crops have equal weights: the loss is the average of both means, as in the authors' code. The
    authors apply asymmetric views to MoCo v2. Here, they are applied to SimSiam, which has no momentum encoder and no
    negatives. Batch norm normalises each batch of views separately.
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
        """Return the loss and a dict of values to log: loss of full views, loss of small views, and embedding std."""
        source_views, small_views, target_views = (
            [augmentation(batch.images, draw) for augmentation in augmentations]
            for augmentations in (self.sources, self.small, self.targets)
        )
        encoded = self.network.each(*source_views)
        if small_views:
            encoded += self.network.each(*small_views)
        z = self._mean_encoding(target_views)
        losses = torch.stack([negative_cosine(p.float(), z) for _, p in encoded])
        terms = {"full_views": losses[: len(self.sources)].mean()}
        if self.small:
            terms["small_crops"] = losses[len(self.sources) :].mean()
        loss = sum(terms.values()) / len(terms)
        watched = {name: term.detach() for name, term in terms.items()}
        return loss, watched | {"embedding_std": spread(encoded[0][0].float())}

    @torch.no_grad()
    def _mean_encoding(self, views: Sequence[Tensor]) -> Tensor:
        return torch.stack([z for z, _ in self.network.each(*views)]).float().mean(dim=0)

    def parameter_groups(self) -> list[dict]:
        return constant_for_predictor(self)


class ScaleMix:
    """Augmentation that makes two views of each image and pastes a box of the second view into the first.

    The box is drawn as in CutMix (Yun et al. 2019, arXiv:1905.04899). Its sides are sqrt(1 - λ) times the sides of the
    image, where λ ~ U(0, 1) is drawn for each image. Its centre is uniform, and parts outside the image are cut off.
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
    """Return a mask of shape (B, size) of the pixels on an axis that are closer than `side` / 2 to `centre`.

    `centre` and `side` have shape (B,) and are fractions of the length of the axis.
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
