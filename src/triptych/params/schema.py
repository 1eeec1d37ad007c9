"""The whole of params.yaml, for checking a file before anything runs."""

from pathlib import Path

from pydantic import Field

from triptych.params.base import Section, read_yaml, validate
from triptych.params.claims import ClaimsParams
from triptych.params.classifier import ClassifierParams
from triptych.params.data import DataParams
from triptych.params.ddpm import DDPMParams
from triptych.params.evaluation import EvaluationParams
from triptych.params.ssl import SSLParams
from triptych.params.training import Runtime
from triptych.params.vae import VAEParams


class Params(Section):
    """Every section of params.yaml."""

    seed: int = Field(ge=0)
    runtime: Runtime
    data: DataParams
    classifier: ClassifierParams
    vae: VAEParams
    ddpm: DDPMParams
    ssl: SSLParams
    evaluation: EvaluationParams
    claims: ClaimsParams


def check(path: Path | str = "params.yaml") -> Params:
    """The whole params file, validated.

    Raises:
        InputError: one line that names the key, the value, what is allowed and the nearest valid name.
    """
    path = Path(path)
    return validate(Params, read_yaml(path), "", path)
