"""Pictures inside the page: the pipeline's PNGs as WebP, which takes a quarter of the bytes."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from triptych.core.errors import InputError

# Charts have fewer colours than this, sheets of images more.
MOST_COLOURS = 2**14
# Charts are compressed without loss, which keeps lines sharp. Rounding each channel to multiples of 5, which include
# black and white, saves a fifth of the bytes.
LEVELS = [round(level / 5) * 5 for level in range(256)]


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI. With its size in pixels the page does not jump as it loads."""

    uri: str
    width: int
    height: int


def embedded(path: Path) -> Picture:
    """Convert a PNG; equal files give equal text."""
    try:
        with Image.open(path, formats=["PNG"]) as png:
            image = png.convert("RGB")
    except (OSError, SyntaxError) as error:  # Pillow has SyntaxError for broken chunks
        raise InputError(f"{path}: not a PNG, or damaged; run the stage that draws it again") from error
    content = io.BytesIO()
    if image.getcolors(MOST_COLOURS) is None:  # sheets show images enlarged, which lossy compression leaves sharp
        image.save(content, "WEBP", quality=80, method=5)
    else:
        image.point(LEVELS * 3).save(content, "WEBP", lossless=True, method=2)
    return Picture(f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}", *image.size)
