"""The whole of params.yaml, for checking a file before anything runs."""

from pathlib import Path

from pydantic import Field

from triptych.core.schema import Section, read_yaml, validate
from triptych.ddpm.params import DDPMParams
from triptych.judge.params import ClassifierParams
from triptych.making.params import DataParams
from triptych.measures.params import EvaluationParams
from triptych.ssl.shared.params import SSLParams
from triptych.studies.params import ClaimsParams
from triptych.core.runtime import Runtime
from triptych.vae.params import VAEParams


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
