"""SimSiam compared with lightly's transform, heads and loss in the loop of its example, with the same encoder."""

import torch
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules.heads import ProjectionHead, SimSiamPredictionHead
from lightly.transforms import SimSiamTransform
from torch import Tensor, nn

from benchmarks.peers.contestant import (
    Contestant,
    Ours,
    Pictures,
    Setting,
    counted,
    endless,
    random_images,
    resident,
    settings,
)
from benchmarks.peers.turns import compare, summary
from triptych.machine.device import Machine
from triptych.nn.backbones import build_backbone
from triptych.ssl.methods.simsiam import Recipe, build
from triptych.ssl.shared.params import SSLParams, ViewParams
from triptych.ssl.shared.recipes import recipe

STEPS = 8
CHANNELS = 3
DIFFERS = "lightly's views are never inverted (of ours {invert:.0%} are), and corners of turned ones are black"


def transform(views: ViewParams) -> SimSiamTransform:
    """Return lightly's transform with the augmentations of params.yaml that it supports."""
    return SimSiamTransform(
        input_size=32,
        cj_prob=views.jitter,
        cj_strength=1.0,
        cj_bright=views.brightness,
        cj_contrast=views.contrast,
        cj_sat=views.saturation,
        cj_hue=views.hue,
        min_scale=views.crop_scale[0],
        random_gray_scale=views.grey,
        gaussian_blur=views.blur,
        sigmas=tuple(views.blur_sigma),
        hf_prob=views.flip,
        rr_prob=float(views.rotation > 0),
        rr_degrees=views.rotation,
        normalize={"mean": [0.5] * CHANNELS, "std": [0.5] * CHANNELS},
    )


class Lightly(nn.Module):
    """Module of lightly's example.

    lightly's SimSiamProjectionHead always has three layers; this head has the layers of the recipe.
    """

    def __init__(self, sizes: dict) -> None:
        super().__init__()
        self.backbone = build_backbone(in_channels=CHANNELS, **sizes["backbone"])
        layers, before = [], self.backbone.feature_size
        for hidden in sizes["projector"]["hidden"]:
            layers.append((before, hidden, nn.BatchNorm1d(hidden), nn.ReLU()))
            before = hidden
        dim = sizes["projector"]["dim"]
        self.projection_head = ProjectionHead([*layers, (before, dim, nn.BatchNorm1d(dim, affine=False), None)])
        self.prediction_head = SimSiamPredictionHead(dim, sizes["predictor"]["hidden"], dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.projection_head(self.backbone(x).flatten(start_dim=1))
        return z.detach(), self.prediction_head(z)


def lightly(chosen: Recipe, sizes: dict, setting: Setting, place: Machine) -> Contestant:
    """Return the loop of lightly's example, docs/source/examples/simsiam."""
    torch.manual_seed(0)
    model = Lightly(sizes).to(place.device, memory_format=setting.layout)
    training, how, criterion = chosen.training, chosen.training.optimiser, NegativeCosineSimilarity()
    optimiser = torch.optim.SGD(
        model.parameters(), how.learning_rate, how.momentum, weight_decay=how.weight_decay, fused=setting.tuned or None
    )
    images = random_images((1 + STEPS) * training.batch_size)
    batches = endless(Pictures(images, transform(chosen.views)), training.batch_size, setting.workers)
    total = torch.zeros((), device=place.device)

    def step() -> None:
        views, _ = next(batches)
        x0, x1 = (view.to(place.device, memory_format=setting.layout) for view in views)
        with setting.autocast(place):
            (z0, p0), (z1, p1) = model(x0), model(x1)
            loss = 0.5 * (criterion(z0, p1) + criterion(z1, p0))
        total.add_(loss.detach())
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    return Contestant(str(setting), training.batch_size, setting.threads, step)


def measure(study: SSLParams, place: Machine, workers: tuple[int, ...], rounds: int) -> dict:
    """Return pairs of views per second, ours and lightly's, for several numbers of DataLoader workers."""
    chosen = recipe(study, "simsiam")
    torch.manual_seed(0)
    objective, sizes = build(chosen, CHANNELS)
    batch = chosen.training.batch_size
    ours = Ours(objective, resident(random_images((1 + STEPS) * batch), place), chosen.training, place)
    peers = [lightly(chosen, sizes, setting, place) for setting in settings(place, workers)]
    duels = compare(Contestant("ours", batch, place.threads, ours.step), peers, rounds, STEPS, wait=place.synchronise)
    return {
        "title": f"SimSiam, {counted(place.threads, 'thread')}",
        "unit": "pairs/s",
        "peer_name": "lightly",
        "differs": DIFFERS.format(invert=chosen.views.invert),
        **summary(duels),
    }
