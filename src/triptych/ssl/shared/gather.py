"""The rows of all processes, for losses that compare the images of a batch with each other."""

import torch.distributed as dist
from torch import Tensor

from triptych.core import collectives


def gathered(rows: Tensor) -> Tensor:
    """(B, ...) rows of this process -> (processes * B, ...) in the order of the global batch, with gradients.

    One process gets back the very tensor. Of several, each computes the loss of the global batch from what this
    returns; the gradients of those equal losses are added up on the way back and averaged over the processes by
    DistributedDataParallel, so that a parameter's gradient is that of one process with the whole batch.

    Args:
        rows: equally many on every process.
    """
    alone = not dist.is_initialized() or dist.get_world_size() == 1
    return rows if alone else collectives.gathered(rows)
