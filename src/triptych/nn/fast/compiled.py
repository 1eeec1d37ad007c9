"""Loops compiled to machine code by numba, for what torch takes several passes for on a CPU.

A loop reads and writes pairs of numbers, each pair a word: two of float32 in 64 bits, or two of bfloat16 in 32, which
numpy does not know. Of a pair each comes out by one operation, without moving among the lanes of a vector; inside, all
are float32. Compiled without fast-math: sums keep their order and no product is fused with a sum, so that every CPU
computes the same bits.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import torch
from numba import config, types
from numba.core.caching import InTreeCacheLocator
from numba.core.types import Type
from numba.extending import intrinsic, overload
from torch import Tensor

# The word of each type of tensor, as a value that tells the compiled functions its type.
WORD = {torch.bfloat16: np.uint32(0), torch.float32: np.uint64(0)}


# numba compiles again when the file of a function has changed, but not when a file has that it calls functions of.
_CALLED = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))


class StateLocator(InTreeCacheLocator):
    """Where the machine code of a function lies: a folder for each state of its file and of this folder's files.

    Not by the path of the sources, as numba's own locators: so that copies of a project can share what one compiled,
    by the environment variable NUMBA_CACHE_DIR.
    """

    def __init__(self, function: Callable, file: str) -> None:
        super().__init__(function, file)
        state = hashlib.sha256(_CALLED + Path(file).read_bytes()).hexdigest()[:16]
        self._cache_path = str(Path(config.CACHE_DIR or Path(__file__).parent / "__pycache__", state))


def compiled(signature: str | None = None) -> Callable[[Callable], Callable]:
    """Compiles a function, or loads what an earlier process has compiled: now, or for the types of its first call.

    A process pays, in tenths of a second, for what it loads: without a signature, only if it calls the function.
    """

    def decorate(function: Callable) -> Callable:
        options = {"error_model": "numpy", "nogil": True}
        others = config.CACHE_LOCATOR_CLASSES
        config.CACHE_LOCATOR_CLASSES = f"{__name__}.{StateLocator.__name__}"
        try:
            return numba.njit(signature, cache=True, **options)(function)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            # No folder can be written: compiled anew by each process.
            return numba.njit(signature, **options)(function)
        finally:
            config.CACHE_LOCATOR_CLASSES = others

    return decorate


def compilable(x: Tensor) -> bool:
    """Whether compiled loops can read (B, C, H, W) or (B, C): on the CPU, channels last, and nothing traces them."""
    return (
        not torch.compiler.is_compiling()
        and type(x) is Tensor
        and x.device.type == "cpu"
        and x.dtype in WORD
        and x.dim() in (2, 4)
        and x.is_contiguous(memory_format=dense(x))
        and x.numel() % 2 == 0
        and x.numel() > 0
        and not torch.jit.is_tracing()
        and not torch._C._are_functorch_transforms_active()
    )


def dense(x: Tensor) -> torch.memory_format:
    """The layout in which the channels of a place lie side by side, and the places one after another."""
    return torch.channels_last if x.dim() == 4 else torch.contiguous_format


# Within compiled functions alone --------------------------------------------------------------------------------------


@intrinsic
def _pointer(typing: object, address: Type, word: Type) -> tuple:
    def generate(context: object, builder: object, signature: object, values: tuple) -> object:
        return builder.inttoptr(values[0], context.get_value_type(types.CPointer(word)))

    return types.CPointer(word)(address, word), generate


@numba.njit
def at(address: int, size: int, word: np.generic) -> np.ndarray:
    """The array of so many of `word`'s type at an address."""
    return numba.carray(_pointer(address, word), size)


def low(word: np.generic) -> np.float32:
    """The first of a pair."""
    raise NotImplementedError


@overload(low, strict=False)
def _low(word: Type) -> Callable:
    if word == types.uint32:
        return lambda word: np.uint32(np.uint32(word) << np.uint32(16)).view(np.float32)
    return lambda word: np.uint32(word).view(np.float32)


def high(word: np.generic) -> np.float32:
    """The second of a pair."""
    raise NotImplementedError


@overload(high, strict=False)
def _high(word: Type) -> Callable:
    if word == types.uint32:
        return lambda word: np.uint32(np.uint32(word) & np.uint32(0xFFFF0000)).view(np.float32)
    return lambda word: np.uint32(np.uint64(word) >> np.uint64(32)).view(np.float32)


def pair(first: np.float32, second: np.float32, word: np.generic) -> np.generic:
    """Two numbers as a word, of the type of `word`; bfloat16 takes the nearest, of two as near the even one."""
    raise NotImplementedError


@overload(pair, strict=False)
def _pair(first: Type, second: Type, word: Type) -> Callable:
    if word == types.uint32:
        return lambda first, second, word: np.uint32(
            np.uint32(_rounded(first) >> np.uint32(16)) | np.uint32(_rounded(second) & np.uint32(0xFFFF0000))
        )
    return lambda first, second, word: np.uint64(
        np.uint64(np.float32(first).view(np.uint32))
        | np.uint64(np.uint64(np.float32(second).view(np.uint32)) << np.uint64(32))
    )


@numba.njit
def _rounded(value: np.float32) -> np.uint32:
    # A NaN stays one: those of arithmetic and those read from bfloat16 have zeros in the half that is cut off.
    bits = np.float32(value).view(np.uint32)
    return np.uint32(bits + np.uint32(0x7FFF) + np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1)))
