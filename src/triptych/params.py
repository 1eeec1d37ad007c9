"""Schema of params.yaml."""

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
    """Section `sampling`: settings for generating images with the trained VAE and DDPM."""

    batch_size: Count
    vae: VAESampling
    ddpm: DDPMSampling


class Params(Section):
    """The contents of params.yaml, with one field per top-level key."""

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
    """Raise InputError if the recipe (the merged settings) of a method or variant in `ssl` is invalid."""
    for name, own in ssl.methods.items():
        if name not in recipes.names():
            raise InputError(f"{path}: unknown key 'ssl.methods.{name}'{nearest(name, recipes.names())}")
        recipes.validated({"ssl.shared": ssl.shared.model_dump(), f"ssl.methods.{name}": own}, name, path)
    for variant in ssl.variants:
        recipes.recipe(ssl, variant, path)


def validated(tree: dict[str, Any], path: Path) -> Params:
    """Validate the contents `tree` of the params file `path`, and the merged settings of every SSL variant.

    Raises InputError if a value is invalid. The message is one line with the file, key, value and allowed values.
    """
    params: Params = validate(Params, tree, "", path)
    check_recipes(params.ssl, path)
    return params


def check(path: Path | str = "params.yaml") -> Params:
    """Read and validate a params file. Raises InputError if the file is missing or a value is invalid."""
    path = Path(path)
    return validated(read_yaml(path), path)
