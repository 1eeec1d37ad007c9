"""Pictures inside the page: the pipeline's PNGs as WebP, which look the same and take a quarter of the bytes."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from triptych.core.errors import InputError

# Lines and anti-aliased letters have fewer colours than this, a sheet of images more.
MOST_COLOURS = 2**14
# Lossless compression keeps lines sharp. Of the 256 levels of a channel every fifth is left, black and white among
# them: that saves a fifth of the bytes, and no colour is off by more than 2.
STEP = 5
LEVELS = [round(level / STEP) * STEP for level in range(256)]
# Sheets show images enlarged, so that lossy compression leaves the edges of their pixels in place.
LOSSY_QUALITY = 80  # of 100
# How hard WebP searches, from 0 to 6: more takes longer and saves next to nothing.
LOSSLESS_METHOD, LOSSY_METHOD = 2, 5


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI, with its size in pixels, so that the page does not jump as it loads."""

    uri: str
    width: int
    height: int


def embedded(path: Path) -> Picture:
    """The PNG at a path as it stands in the page; equal files give equal text.

    Raises:
        InputError: it is damaged, or no PNG.
    """
    try:
        with Image.open(path, formats=["PNG"]) as png:
            image = png.convert("RGB")
    except (OSError, SyntaxError) as error:  # Pillow has SyntaxError for broken chunks
        raise InputError(f"{path}: not a PNG, or damaged; run the stage that draws it again") from error
    return Picture(f"data:image/webp;base64,{base64.b64encode(_webp(image)).decode()}", *image.size)


def _webp(image: Image.Image) -> bytes:
    """Lossless where letters and lines make up the picture, lossy where images do."""
    content = io.BytesIO()
    if image.getcolors(MOST_COLOURS) is None:
        image.save(content, "WEBP", quality=LOSSY_QUALITY, method=LOSSY_METHOD)
    else:
        rounded = image.point(LEVELS * len(image.getbands()))
        rounded.save(content, "WEBP", lossless=True, method=LOSSLESS_METHOD)
    return content.getvalue()
