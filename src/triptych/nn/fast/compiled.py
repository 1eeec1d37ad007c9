"""Compile kernels (loops over numpy arrays) with numba, if numba is installed and `runtime.kernels` is `fast`.

numpy has no bfloat16. Tensors of bfloat16 are therefore passed as arrays of uint16, and `real` and `stored` convert
their values to and from float32. Kernels are compiled without fast-math: sums keep their order, products are not fused
with sums, and every CPU computes the same bits.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from triptych.machine import device

try:
    import numba
    from numba.core.caching import InTreeCacheLocator
    from numba.extending import overload
except ImportError:  # the torch references are used instead
    numba = None


def enabled() -> bool:
    """Return True if numba is installed, `runtime.kernels` is `fast`, and torch.compile is not tracing."""
    return numba is not None and device.kernels == "fast" and not torch.compiler.is_compiling()


def readable(x: Tensor) -> bool:
    """Return True if the compiled kernels support the device, dtype, shape and memory layout of x."""
    return (
        enabled()
        and type(x) is Tensor
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.dim() in (2, 4)
        and x.is_contiguous(memory_format=dense(x))
        and x.numel() > 0
        and not torch.jit.is_tracing()
        and not torch._C._are_functorch_transforms_active()
    )


def dense(x: Tensor) -> torch.memory_format:
    """Return the channels-last memory format if x is 4-D, otherwise the contiguous memory format."""
    return torch.channels_last if x.dim() == 4 else torch.contiguous_format


def array(x: Tensor, groups: int) -> np.ndarray:
    """Return a `readable` tensor as an array of shape (groups, values) that shares memory; bfloat16 becomes uint16."""
    x = x.detach()
    flat = (x.permute(0, 2, 3, 1) if x.dim() == 4 else x).reshape(groups, -1)
    return flat.view(torch.uint16).numpy() if x.dtype == torch.bfloat16 else flat.numpy()


def inlined(function: Callable) -> Callable:
    """Return a compiled version of a function that kernels call; without numba, return the function itself."""
    return function if numba is None else numba.njit(error_model="numpy")(function)


def compiled(function: Callable) -> Callable:
    """Return a kernel that is compiled, or loaded from a cache, at its first call. Without numba, return `function`."""
    if numba is None:
        return function
    options = {"error_model": "numpy", "nogil": True}
    locators = numba.config.CACHE_LOCATOR_CLASSES
    numba.config.CACHE_LOCATOR_CLASSES = f"{__name__}.{StateLocator.__name__}"
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        return numba.njit(**options)(function)  # no folder is writable, so that each process compiles
    finally:
        numba.config.CACHE_LOCATOR_CLASSES = locators


def real(value: np.generic) -> np.float32:
    """Convert an array element (float32, or bfloat16 stored as uint16) to float32."""
    raise NotImplementedError


def stored(value: np.float32, like: np.generic) -> np.generic:
    """Convert a float32 to the type of `like`: float32, or bfloat16 rounded to nearest even and stored as uint16."""
    raise NotImplementedError


if numba is not None:
    # numba's own cache considers only the file of the kernel, not the files of functions that it calls.
    _SOURCES = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))

    class StateLocator(InTreeCacheLocator):
        """Locator that names numba's cache folder after a hash of the sources, so that project copies can share it."""

        def __init__(self, function: Callable, file: str) -> None:
            super().__init__(function, file)
            state = hashlib.sha256(_SOURCES + Path(file).read_bytes()).hexdigest()[:16]
            self._cache_path = str(Path(numba.config.CACHE_DIR or Path(__file__).parent / "__pycache__", state))

    @overload(real)
    def _real(value):
        if value == numba.types.uint16:
            return lambda value: np.uint32(np.uint32(value) << np.uint32(16)).view(np.float32)
        return lambda value: value

    @overload(stored)
    def _stored(value, like):
        if like == numba.types.uint16:
            return lambda value, like: np.uint16(_rounded(np.float32(value).view(np.uint32)) >> np.uint32(16))
        return lambda value, like: np.float32(value)

    @numba.njit
    def _rounded(bits):
        # NaN stays NaN, because the lower half of its bits is zero after arithmetic and when read from bfloat16.
        return np.uint32(bits + np.uint32(0x7FFF) + np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1)))
