"""Schema of params.yaml, and functions that read and validate this file."""

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from triptych.core.errors import InputError
from triptych.core.schema import Count, Runtime, Section, nearest, read_yaml, validate
from triptych.data.sources.params import DataParams
from triptych.ddpm.params import DDPMParams, DDPMSampling
from triptych.judge.params import ClassifierParams
from triptych.measures.params import EvaluationParams
from triptych.report.params import ClaimsParams
from triptych.ssl.shared import recipes
from triptych.ssl.shared.params import SSLParams
from triptych.vae.params import VAEParams, VAESampling


class SamplingParams(Section):
    """Section `sampling` of params.yaml: settings for generating images with the trained VAE and DDPM."""

    batch_size: Count
    vae: VAESampling
    ddpm: DDPMSampling


class Params(Section):
    """Validated content of params.yaml. Each field is a top-level key of the file."""

    seed: int = Field(ge=0)
    runtime: Runtime
    data: DataParams
    classifier: ClassifierParams
    vae: VAEParams
    ddpm: DDPMParams
    ssl: SSLParams
    sampling: SamplingParams
    evaluation: EvaluationParams
    claims: ClaimsParams

    @model_validator(mode="after")
    def _images_fit(self) -> "Params":
        size = self.data.generative.size
        for key, network in (("vae.network", self.vae.network), ("ddpm.network", self.ddpm.network)):
            if size and size % network.multiple:
                fit = ", ".join(str(network.multiple * times) for times in range(1, 9))
                raise ValueError(f"{key}: image size {size} (data.generative) is not supported; must be {fit}, …")
        return self

    @model_validator(mode="after")
    def _guides_are_kept(self) -> "Params":
        kept = self.ddpm.training.snapshot_epochs
        missing = [epoch for epoch in self.sampling.ddpm.guidance.epochs if epoch not in kept]
        if missing:
            raise ValueError(
                f"sampling.ddpm.guidance: no snapshot of epoch {missing[0]}; must be one of "
                f"ddpm.training.snapshot_epochs ({', '.join(map(str, kept))})"
            )
        return self


def check_recipes(ssl: SSLParams, path: Path) -> None:
    """Raise InputError if the merged settings of a self-supervised method or variant in the file `path` are invalid."""
    for name, own in ssl.methods.items():
        if name not in recipes.names():
            raise InputError(f"{path}: unknown key 'ssl.methods.{name}'{nearest(name, recipes.names())}")
        recipes.validated({"ssl.shared": ssl.shared.model_dump(), f"ssl.methods.{name}": own}, name, path)
    for variant in ssl.variants:
        recipes.recipe(ssl, variant, path)


def validated(tree: dict[str, Any], path: Path) -> Params:
    """Validate the content of a params file, including the settings of each self-supervised method and variant.

    `tree` is the parsed YAML. Raises InputError if a key or value is invalid. The message names the file `path`.
    """
    params: Params = validate(Params, tree, "", path)
    check_recipes(params.ssl, path)
    return params


def check(path: Path | str = "params.yaml") -> Params:
    """Read and validate a params file. Raises InputError if the file is missing or its content is invalid."""
    path = Path(path)
    return validated(read_yaml(path), path)
