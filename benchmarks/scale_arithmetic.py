"""Compute the cost of the SSL methods with a ResNet-50 on ImageNet: the tables of docs/scale.md.

    python benchmarks/scale_arithmetic.py

Nothing is trained. Parameters are counted in the methods' networks with the sizes of their papers, and passes in one
forward pass of each objective on noise. The activations that autograd keeps are counted in a ResNet-50 on CPU under
autocast to bfloat16, with batch norms of one process and of several. Writes a section of docs/scale.md.
"""

import argparse
import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
import torch.distributed as dist
from pages import table, write_section
from projects import ROOT
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet50

from triptych.cli.profiles import merged
from triptych.core.errors import one_line_errors
from triptych.machine.randomness import Draw
from triptych.nn.backbones import SmallResNet
from triptych.nn.fast.norm import BatchNorm
from triptych.params import Params, validated
from triptych.ssl.shared.params import SSLRecipe
from triptych.ssl.shared.recipes import method, recipe
from triptych.training.objective import Batch, Objective
from triptych.training.processes import globalise

PAGE = Path("docs/scale.md")
# ImageNet-1k with the usual crop size.
TRAIN, TEST, CLASSES, SIDE = 1_281_167, 50_000, 1000, 224
FEATURES = 2048  # output size of a ResNet-50
BATCH, PROCESSES = 1024, 8
FLOAT, DOUBLE, HALF = 4, 8, 2  # bytes
KNN_BLOCK = 512  # queries per block in measures/neighbours.py
# Sizes of the heads on ImageNet in the papers. DSSL and AsymSiam use those of SimSiam.
SIMSIAM = {"projector_hidden": [2048, 2048], "projector_dim": 2048, "predictor_hidden": 512}
EXPANDER = {"projector_hidden": [8192, 8192], "projector_dim": 8192}
PAPERS = {
    "simsiam": SIMSIAM,  # Chen & He 2021, section 3
    "barlow_twins": EXPANDER,  # Zbontar et al. 2021, section 2.2
    "vicreg": EXPANDER,  # Bardes et al. 2022, section 4.2
    "byol": {  # Grill et al. 2020, section 3.3
        "projector_hidden": [4096],
        "projector_dim": 256,
        "projector_norm": False,
        "predictor_hidden": 4096,
    },
    "dssl": SIMSIAM,
    "asymsiam": SIMSIAM,
    "simclr": {"projector_hidden": [2048], "projector_dim": 128},  # Chen et al. 2020, sections 3 and 4.2
}


@dataclass(frozen=True)
class Encoder:
    """Counts of a ResNet-50 without its last layer.

    Attributes:
        parameters, norms, channels: numbers of parameters, of batch norms, and of the channels of all batch norms.
        kept, kept_by_several: bytes per image that autograd keeps for the backward pass, with batch norms of one
            process and of several.
        flop: operations of the forward pass per image.
    """

    parameters: int
    norms: int
    channels: int
    kept: float
    kept_by_several: float
    flop: int

    @classmethod
    def counted(cls) -> "Encoder":
        """Count in the network itself."""
        network = resnet50()
        network.fc = nn.Identity()
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            network.eval()(torch.zeros(1, 3, SIDE, SIDE))
        norms = [norm for norm in network.modules() if isinstance(norm, nn.BatchNorm2d)]
        found = {
            "parameters": count(network),
            "norms": len(norms),
            "channels": sum(norm.num_features for norm in norms),
            "kept": kept_of_an_image(network.train()),
        }
        with one_process():
            several = kept_of_an_image(globalise(network))
        return cls(**found, kept_by_several=several, flop=counter.get_total_flops())


@contextmanager
def one_process() -> Iterator[None]:
    """Open a process group with one process, which batch norms that span processes need."""
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
        try:
            yield
        finally:
            dist.destroy_process_group()


def kept_of_an_image(network: nn.Module) -> float:
    """Return the bytes per image that autograd keeps, without those that do not depend on the number of images."""
    fewer, more = (kept(network, torch.zeros(images, 3, SIDE, SIDE)) for images in (2, 4))
    return (more - fewer) / 2


def kept(network: nn.Module, images: Tensor) -> int:
    """Return the bytes of all tensors that autograd keeps in a forward pass, without the weights.

    Storage that tensors share counts once. Uses contiguous NCHW images, for which the network uses torch on a CPU too.
    """
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    found: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor  # keeps the tensor alive, so that its address is not reused
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        network(images)
    return sum(tensor.untyped_storage().nbytes() for place, tensor in found.items() if place not in weights)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@dataclass(frozen=True)
class Method:
    """A method with a ResNet-50 and the sizes of its paper.

    Attributes:
        name: name in the profile full.
        recipe: default recipe with the heads of the paper.
        encoder: counts of the ResNet-50.
    """

    name: str
    recipe: SSLRecipe
    encoder: Encoder

    @cached_property
    def objective(self) -> Objective:
        """Objective with the small default encoder in place of the ResNet-50, on the meta device."""
        with torch.device("meta"):
            return method(self.name).build(self.recipe, 3)[0]

    @cached_property
    def heads(self) -> Counter:
        """Parameters of projectors and predictors: `trained`, and `followed` in a target network (a moving average)."""
        found = Counter(trained=0, followed=0)
        for name, parameter in self.objective.named_parameters():
            if "backbone." not in name:
                shape = list(parameter.shape)
                if name.endswith("projector.0.weight"):
                    shape[1] = FEATURES  # of the ResNet-50
                found["trained" if parameter.requires_grad else "followed"] += torch.Size(shape).numel()
        return found

    @property
    def encoders(self) -> int:
        """Number of encoders, 2 with a target network."""
        return sum(isinstance(module, SmallResNet) for module in self.objective.modules())

    @property
    def trained(self) -> int:
        """Number of parameters with gradients."""
        return self.encoder.parameters + self.heads["trained"]

    @property
    def followed(self) -> int:
        """Number of parameters of a target network."""
        return (self.encoders - 1) * self.encoder.parameters + self.heads["followed"]

    @cached_property
    def passes(self) -> Counter:
        """Encoder passes per step: `gradient`, which keep activations, and `none`."""
        small = self.recipe.model_copy(update={"projector_hidden": [8], "projector_dim": 8})
        objective = method(self.name).build(small, 3)[0].train()
        found = Counter(gradient=0, none=0)

        def note(module: nn.Module, inputs: tuple, features: Tensor) -> None:
            found["gradient" if features.requires_grad else "none"] += 1

        for module in objective.modules():
            if isinstance(module, SmallResNet):
                module.register_forward_hook(note)
        objective(Batch(torch.zeros(4, 3, 32, 32), torch.zeros(4, dtype=torch.int64)), Draw(torch.device("cpu"), (0,)))
        return found

    @property
    def optimiser_bytes(self) -> int:
        """Bytes of optimiser state per parameter: one running mean for SGD, two for Adam."""
        return FLOAT if self.recipe.training.optimiser.name == "sgd" else 2 * FLOAT

    @property
    def state(self) -> int:
        """Bytes of weights, gradients, the gradient buckets of DistributedDataParallel, and optimiser state."""
        return self.trained * (3 * FLOAT + self.optimiser_bytes) + self.followed * FLOAT

    @property
    def checkpoint(self) -> int:
        """Bytes of a checkpoint: weights and optimiser state."""
        return self.trained * (FLOAT + self.optimiser_bytes) + self.followed * FLOAT

    @property
    def snapshot(self) -> int:
        """Bytes of the saved weights of an epoch, without a target network."""
        return self.trained * FLOAT

    @property
    def gathers(self) -> bool:
        """True if the loss uses the projections of all processes."""
        return hasattr(method(self.name), "gathered")

    @property
    def gathered(self) -> int:
        """Bytes of the projections of two views of the global batch."""
        return 2 * BATCH * self.recipe.projector_dim * FLOAT if self.gathers else 0

    @property
    def square(self) -> int:
        """Bytes of the largest matrix in the loss per process: of dimensions, or of SimCLR's views."""
        side = 2 * BATCH if self.name == "simclr" else self.recipe.projector_dim
        return side**2 * FLOAT if self.gathers else 0

    @property
    def exchanges_of_norms(self) -> int:
        """Number of all-reduces of batch norms per step: one per forward pass, and one per backward pass."""
        network = self.objective.network
        # A target network has no predictor and therefore not the batch norm in it.
        target_heads = sum(isinstance(module, BatchNorm) for module in network.projector)
        heads = target_heads + sum(isinstance(module, BatchNorm) for module in network.predictor)
        forward_only = self.passes["none"] * (self.encoder.norms + (target_heads if self.encoders > 1 else heads))
        return 2 * self.passes["gradient"] * (self.encoder.norms + heads) + forward_only


def methods(params: Params, encoder: Encoder) -> list[Method]:
    """Return all methods with the recipes of their baseline variants and the heads of their papers."""
    return [
        Method(name, recipe(params.ssl, base(params, name)).model_copy(update=heads), encoder)
        for name, heads in PAPERS.items()
    ]


def base(params: Params, name: str) -> str:
    """Return the variant with the fewest changes to a method's recipe."""
    return min(
        (key for key, variant in params.ssl.variants.items() if variant.method == name),
        key=lambda key: len(params.ssl.variants[key].model_extra),
    )


def size(count: float) -> str:
    """Format bytes, such as `43.8 MB` or `193 GB`, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB" if count < 1000 else f"{count:,.0f} TB"


def steps(every: list[Method]) -> str:
    """Return the table of the memory of a step."""
    share = BATCH // PROCESSES
    rows = [["method", "passes with gradient", "without", "parameters trained", "of a target"]]
    rows[0] += ["weights, gradients, optimiser", f"activations of {share} images, norms of one process"]
    rows[0] += ["norms of several", "in all, several"]
    for one in every:
        kept = one.passes["gradient"] * share * one.encoder.kept_by_several
        rows.append(
            [
                f"`{one.name}`",
                str(one.passes["gradient"]),
                str(one.passes["none"]),
                f"{one.trained / 1e6:.1f} M",
                f"{one.followed / 1e6:.1f} M" if one.followed else "–",
                size(one.state),
                size(one.passes["gradient"] * share * one.encoder.kept),
                size(kept),
                size(kept + one.state),
            ]
        )
    return table(rows)


def exchanged(every: list[Method]) -> str:
    """Return the table of the bytes that processes exchange per step, and of the matrices in the losses."""
    rows = [["method", "gradients", "sums of norms", "projections gathered", "matrix of the loss, in each process"]]
    for one in every:
        shape = f"{2 * BATCH if one.name == 'simclr' else one.recipe.projector_dim:,}²"
        rows.append(
            [
                f"`{one.name}`",
                size(one.trained * FLOAT),
                str(one.exchanges_of_norms),
                f"2 × {BATCH:,} × {one.recipe.projector_dim:,}: {size(one.gathered)}" if one.gathers else "–",
                f"{shape}: {size(one.square)}" if one.gathers else "–",
            ]
        )
    return table(rows)


def kept_on_disk(every: list[Method]) -> str:
    """Return the table of the files of a training."""
    rows = [["method", "checkpoint", "on disk: this one, the last, the next", "weights of a kept epoch"]]
    rows += [[f"`{one.name}`", size(one.checkpoint), size(3 * one.checkpoint), size(one.snapshot)] for one in every]
    return table(rows)


def data_and_measures(encoder: Encoder) -> str:
    """Return the table of the bytes and operations that depend on the number of images."""
    share, seen, pixels = BATCH // PROCESSES, TRAIN + TEST, (3, SIDE, SIDE)
    sizes = {
        "training images, uint8": (TRAIN, *pixels),
        "test images, uint8": (TEST, *pixels),
        "`prepare` at its peak: all images, and in another order": (2, seen, *pixels),
        "order of an epoch": (TRAIN, DOUBLE),
        "a process's batch as float32, and two views of it": (3, share, *pixels, FLOAT),
        "crops of one view as matrices": (2, share, SIDE, SIDE, FLOAT),
        "features of the bank of neighbours": (TRAIN, FEATURES, FLOAT),
        "similarities of a block of queries": (KNN_BLOCK, TRAIN, FLOAT),
        "linear probe: features and bias": (TRAIN, FEATURES + 1, DOUBLE),
        "linear probe: log-probabilities": (TRAIN, CLASSES, DOUBLE),
        "pixels for the baselines": (TRAIN, *pixels, FLOAT),
        "pixels for the baselines' probe": (TRAIN, *pixels, DOUBLE),
    }
    work = {
        "crop of one view of an image": (4, 3, SIDE, SIDE, SIDE),
        "encoding all images once": (seen, encoder.flop),
        "nearest neighbours of the test images": (2, TEST, TRAIN, FEATURES),
        "linear probe: loss and gradient once": (4, TRAIN, FEATURES + 1, CLASSES),
        "neighbours by pixels": (2, TEST, TRAIN, *pixels),
    }
    rows = [["what", "of", "is"]]
    rows += [[name, f"{times(factors)} B", size(math.prod(factors))] for name, factors in sizes.items()]
    rows += [[name, f"{times(factors)} FLOP", operations(math.prod(factors))] for name, factors in work.items()]
    return table(rows)


def times(factors: Sequence[int]) -> str:
    """Format a product, such as `1,281,167 × 3 × 224 × 224`."""
    return " × ".join(f"{factor:,}" for factor in factors)


def operations(count: float) -> str:
    """Format a number of floating-point operations, such as `262 TFLOP`."""
    for unit in ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} PFLOP"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=ROOT, help="root of the output files")
    to = parser.parse_args().to
    encoder = Encoder.counted()
    every = methods(validated(merged("full", ROOT), ROOT / "profiles/full.yaml"), encoder)
    counted = (
        f"A ResNet-50 without its last layer has {encoder.parameters:,} parameters and {encoder.norms} batch norms of "
        f"{encoder.channels:,} channels together; a forward pass of an image takes {encoder.flop / 1e9:.2f} GFLOP, and "
        f"autograd keeps {size(encoder.kept)} of it, {size(encoder.kept_by_several)} with norms that span processes."
    )
    parts = {
        "steps": f"{counted}\n\n{steps(every)}",
        "exchanged": exchanged(every),
        "files": kept_on_disk(every),
        "data": data_and_measures(encoder),
    }
    for name, text in parts.items():
        print(text, end="\n\n")
        write_section(to / PAGE, f"arithmetic-{name}", text)


if __name__ == "__main__":
    with one_line_errors():
        main()
