"""The `data` section of params.yaml: the source of each study's images.

Every source has a `root`, on which stage `prepare` depends in dvc.yaml, so that DVC sees changes of its files.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from triptych.core.schema import Count, Probability, Section

OWN_LICENCE = "the user's own"
SMALL, PADDED = 28, 32  # pixels per side: 28 (MNIST) cannot be halved often enough, so those images are padded

Text = Annotated[str, Field(min_length=1)]
Resolution = Annotated[int, Field(ge=16, le=256)]


def _rising(bounds: list[float]) -> list[float]:
    if bounds[0] > bounds[1]:
        raise ValueError("a range is [low, high] with low <= high")
    return bounds


UnitRange = Annotated[list[Probability], Field(min_length=2, max_length=2), AfterValidator(_rising)]


class StreetDigits(Section):
    """House-number digits, drawn. Each setting ranges from easy (0, or a narrow range) to as hard as SVHN."""

    name: Literal["streetdigits"]
    root: Literal["src/triptych/data/sources/streetdigits.py"]  # drawn images depend on code
    train: Count
    test: Count
    size: Resolution
    digit_height: UnitRange
    stretch: Annotated[float, Field(ge=0, le=0.5)]
    stroke: Annotated[float, Field(ge=0, le=1)]
    shift: Annotated[float, Field(ge=0, le=0.5)]
    rotation: Annotated[float, Field(ge=0, le=45)]
    shear: Annotated[float, Field(ge=0, le=1)]
    perspective: Annotated[float, Field(ge=0, le=0.5)]
    neighbours: Probability
    luminance: UnitRange
    contrast: UnitRange
    channel_spread: Probability
    gradient: Probability
    texture: Probability
    shadow: Probability
    least_resolution: Annotated[int, Field(ge=4)]
    noise: Annotated[float, Field(ge=0, le=0.5)]

    @model_validator(mode="after")
    def _possible(self) -> "StreetDigits":
        if self.digit_height[0] < 0.2:
            raise ValueError("digit_height must start at 0.2 of the image or above: smaller digits cannot be read")
        if self.least_resolution > self.size:
            raise ValueError(f"least_resolution {self.least_resolution} is above size {self.size}")
        return self


class Torchvision(Section):
    """A public dataset, through torchvision. `train` and `test` limit the number of images; null keeps all."""

    name: Literal["svhn", "cifar10", "mnist", "fashion_mnist"]
    root: Text
    download: bool
    train: Count | None
    test: Count | None

    @property
    def size(self) -> int:
        """Pixels per side: 32 for all, since images of 28 are padded."""
        return PADDED


class Folder(Section):
    """A user's own images: train/<class>/* and test/<class>/*, or unlabelled in train/ and test/ themselves."""

    name: Literal["folder"]
    root: Text
    size: Resolution


class Npz(Section):
    """Arrays x_train, y_train, x_test, y_test in one .npz file; images uint8, NHWC or NCHW."""

    name: Literal["npz"]
    root: Text

    @property
    def size(self) -> None:
        """Pixels per side: unknown before the file is read."""


Source = Annotated[StreetDigits | Torchvision | Folder | Npz, Field(discriminator="name")]
SOURCES = (StreetDigits, Torchvision, Folder, Npz)


class DataParams(Section):
    """The dataset of each study."""

    generative: Source
    ssl: Source

    @model_validator(mode="before")
    @classmethod
    def _whole_sections(cls, sections: Any) -> Any:
        for study, section in sections.items() if isinstance(sections, dict) else ():
            if isinstance(section, dict):
                _refuse_left_over(study, section)
        return sections


def _refuse_left_over(study: str, section: dict[str, Any]) -> None:
    """Refuse keys of another source, which remain if only `name` is changed; the message gives the right command."""
    sources = {name: source for source in SOURCES for name in get_args(source.model_fields["name"].annotation)}
    name = section.get("name")
    if name not in sources:
        return
    own, every = sources[name].model_fields, {key for source in SOURCES for key in source.model_fields}
    left_over = [key for key in section if key in every and key not in own]
    if left_over:
        keys = ", ".join(f"{key}: …" for key in own if key != "name")
        raise ValueError(
            f"{study}: source {name} has no parameter {left_over[0]}; to change the source, replace the whole section: "
            f"dvc exp run -S '~data.{study}' -S '+data.{study}={{name: {name}, {keys}}}'"
        )
