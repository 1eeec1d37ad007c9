"""Pictures in the page look like their files and are small; damaged files are named."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy_images import pictures as toy_images

from triptych.core.errors import InputError
from triptych.page.build import embedded
from triptych.report import drawing

ROOT = Path(__file__).parents[2]
MOST = 3_000_000  # bytes, of the committed page
MOST_OF_A_FIGURE = 60_000  # bytes, of the text of one figure of these tests


@pytest.fixture(scope="module")
def plot(tmp_path_factory) -> Path:
    """A figure of lines and letters."""
    path = tmp_path_factory.mktemp("plot") / "plot.png"
    values = np.sin(np.arange(32))
    with drawing.chart(path) as [[axes]]:
        axes.bar(range(32), values, yerr=abs(values) / 4)
        axes.set(xlabel="x", ylabel="y")
    return path


@pytest.fixture(scope="module")
def sheet(tmp_path_factory) -> Path:
    """A figure of 64 images, smooth with some noise."""
    path = tmp_path_factory.mktemp("sheet") / "sheet.png"
    rng = np.random.default_rng(0)
    coarse = rng.uniform(60, 190, (64, 3, 3, 3)).astype(np.float32)
    smooth = [
        np.stack([np.asarray(Image.fromarray(channel).resize((32, 32), Image.Resampling.BICUBIC)) for channel in one])
        for one in coarse
    ]
    images = (np.stack(smooth) + rng.normal(0, 3, (64, 3, 32, 32))).clip(0, 255).astype(np.uint8)
    drawing.image_sheet(path, [("", images)])
    return path


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), float)


def shown(path: Path) -> Image.Image:
    """Decode the embedded picture as a browser does."""
    return Image.open(io.BytesIO(base64.b64decode(embedded(path).uri.partition("base64,")[2])))


def test_a_plot_keeps_every_pixel_to_within_two_levels_and_black_and_white_exactly(plot):
    before, after = pixels(Image.open(plot)), pixels(shown(plot))
    assert 0 < np.abs(before - after).max() <= 2
    for level in (0, 255):
        assert (after[before == level] == level).all()


def test_a_sheet_keeps_its_size_and_its_look(sheet):
    before, after = Image.open(sheet), shown(sheet)
    assert before.size == after.size == (embedded(sheet).width, embedded(sheet).height)
    error = pixels(before) - pixels(after)
    psnr = 10 * np.log10(255**2 / np.mean(error**2))
    assert psnr > 33
    assert np.abs(error.mean(axis=(0, 1))).max() < 1  # no shift of colour


def test_images_of_few_colours_are_kept_too(tmp_path):
    """A sheet from a toy run counts as a chart."""
    drawing.image_sheet(tmp_path / "few.png", [("a name", toy_images(16))], columns=8)
    before, after = pixels(Image.open(tmp_path / "few.png")), pixels(shown(tmp_path / "few.png"))
    assert np.abs(before - after).max() <= 2


@pytest.mark.parametrize("name", ["plot", "sheet"])
def test_a_figure_takes_a_fraction_of_its_file_and_the_same_file_gives_the_same_text(name, request):
    path = request.getfixturevalue(name)
    uri = embedded(path).uri
    assert uri.startswith("data:image/webp;base64,")
    assert len(uri) < min(MOST_OF_A_FIGURE, path.stat().st_size / 1.5)
    assert embedded(path).uri == uri


def test_a_damaged_picture_is_named(plot, tmp_path):
    content = plot.read_bytes()
    jpeg = io.BytesIO()
    Image.new("RGB", (8, 8)).save(jpeg, "JPEG")
    for number, damaged in enumerate((b"", content[:20], content[: len(content) // 2], jpeg.getvalue())):
        path = tmp_path / f"damaged{number}.png"
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=f"damaged{number}.png"):
            embedded(path)


def test_the_committed_page_is_small():
    page = ROOT / "plots/report.html"
    if not page.exists():
        pytest.skip("no page has been built here")
    assert page.stat().st_size <= MOST
