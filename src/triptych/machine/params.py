"""Where and how the stages run: the `runtime` section of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from triptych.core.schema import Positive, Section


class Runtime(Section):
    """Where and how the stages run."""

    launch: Annotated[str, Field(min_length=1)]
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "float32", "bfloat16"]
    threads: Annotated[int, Field(ge=0)]
    kernels: Literal["fast", "plain"] = "fast"
    compile: bool
    checkpoint_seconds: Positive
