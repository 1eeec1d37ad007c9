"""Schema of the section `data` of params.yaml, which describes the sources of the images.

The stage `prepare` depends on the path `root` of each source, so that DVC detects changed images.
"""

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from triptych.core.schema import Bounds, Count, Probability, Section

OWN_LICENCE = "the user's own"
SMALL, PADDED = 28, 32  # pixels per side: images of 28 (MNIST) cannot be halved often enough and are padded to 32

Text = Annotated[str, Field(min_length=1)]
Resolution = Annotated[int, Field(ge=16, le=256)]
UnitRange = Annotated[list[Probability], *Bounds]


class StreetDigits(Section):
    """Synthetic house-number digits: number of images, image size, and ranges of the random variations."""

    name: Literal["streetdigits"]
    root: Literal["src/triptych/data/sources/streetdigits.py"]  # the code is the only source of the images
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
            raise ValueError("digit_height must be at least 0.2 of the image height; smaller digits are illegible")
        if self.least_resolution > self.size:
            raise ValueError(f"least_resolution must be at most size ({self.size}), got {self.least_resolution}")
        return self


class Torchvision(Section):
    """Public dataset in the folder `root`. `train` and `test` are the numbers of images; None selects all images."""

    name: Literal["svhn", "cifar10", "mnist", "fashion_mnist"]
    root: Text
    download: bool
    train: Count | None
    test: Count | None
    size: ClassVar[int] = PADDED


class Folder(Section):
    """Folder `root` with a user's images in train/ and test/. Subfolders are classes. `size` is in pixels."""

    name: Literal["folder"]
    root: Text
    size: Resolution


class Npz(Section):
    """User's .npz file with uint8 images x_train and x_test (NHWC or NCHW) and optional labels y_train and y_test."""

    name: Literal["npz"]
    root: Text
    size: ClassVar[None] = None  # unknown until the file is read


AnySource = StreetDigits | Torchvision | Folder | Npz
Source = Annotated[AnySource, Field(discriminator="name")]


class DataParams(Section):
    """Section `data`: image sources of the generative models (VAE and DDPM) and of self-supervised learning (`ssl`)."""

    generative: Source
    ssl: Source

    @model_validator(mode="before")
    @classmethod
    def _whole_sections(cls, sections: Any) -> Any:
        for study, section in sections.items() if isinstance(sections, dict) else ():
            if isinstance(section, dict):
                _refuse_other_keys(study, section)
        return sections


def _refuse_other_keys(study: str, section: dict[str, Any]) -> None:
    """Raise ValueError if `section`, the image source of `study`, contains keys of another source.

    The message gives a command that replaces the whole section.
    """
    fields = [source.model_fields for source in get_args(AnySource)]
    name, known = section.get("name"), set().union(*fields)
    for own in fields:
        other = [key for key in section if key in known and key not in own]
        if other and name in get_args(own["name"].annotation):
            keys = ", ".join(f"{key}: …" for key in own if key != "name")
            raise ValueError(
                f"{study}: source {name} has no parameter {other[0]}; to change the source, replace the whole "
                f"section: dvc exp run -S '~data.{study}' -S '+data.{study}={{name: {name}, {keys}}}'"
            )
