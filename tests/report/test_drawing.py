"""Pieces that figures share: sheets show every image, curves the mean over seeds, colours can be told apart."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from triptych.report import drawing
from triptych.ssl.words.variants import METHOD_COLOURS, OWN_COLOURS, SIMSIAM, lines, variants

# Normal colour vision, then deuteranopia and protanopia on linear RGB (Machado, Oliveira & Fernandes 2009).
VISION = np.array(
    [
        np.eye(3),
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    ]
)
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3, 8, 8), dtype=np.uint8)


def test_images_lie_in_rows_with_white_gaps():
    shown = images(3)
    picture = drawing.grid(shown, columns=2)
    assert picture.shape == (18, 18, 3)
    assert (picture[:8, 10:] == shown[1].transpose(1, 2, 0)).all()
    assert (picture[10:, :8] == shown[2].transpose(1, 2, 0)).all()
    assert (picture[8:10] == 255).all() and (picture[10:, 10:] == 255).all()


def test_grey_images_are_shown_in_grey():
    assert (drawing.grid(images(1)[:, :1], columns=1) == images(1)[0, 0, :, :, None]).all()


def test_bands_begin_in_a_new_row_each_with_its_name_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    drawn = []
    monkeypatch.setattr(drawing, "save", lambda figure, path: drawn.append(figure))
    drawing.image_sheet(tmp_path / "bands.png", [("one", images(3)), ("two", images(2)[::-1])], columns=2)
    [axes] = drawn[0].axes
    sheet = axes.images[0].get_array()
    assert (sheet[:18] == drawing.grid(images(3), 2)).all() and (sheet[20:] == drawing.grid(images(2)[::-1], 2)).all()
    names = [(label.get_position()[1], label.get_text()) for label in axes.get_yticklabels()]
    assert names == [(9, "one"), (24, "two")]
    plt.close(drawn[0])


def test_equal_images_give_equal_files_as_wide_as_the_page(tmp_path: Path):
    for name in ("one", "two"):
        drawing.image_sheet(tmp_path / f"{name}.png", [("a", images(4)), ("b", images(4))], columns=4)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as picture:
        assert 900 < picture.width < 1000


def test_a_curve_is_the_mean_over_seeds_where_measured_in_a_band_over_all_seeds():
    gap = np.nan
    history = pd.DataFrame(
        {"epoch": [1, 2, 3, 1, 2, 3], "seed": [0, 0, 0, 1, 1, 1], "knn": [0.1, gap, 0.3, 0.3, gap, 0.5]}
    )
    figure, axes = plt.subplots()
    drawing.curve(axes, history, "epoch", "knn", color="teal", label="A")
    [line] = axes.get_lines()
    assert line.get_xydata() == pytest.approx(np.array([[1, 0.2], [3, 0.4]]))
    assert line.get_label() == "A" and line.get_color() == "teal"
    [band] = axes.collections
    assert band.get_datalim(axes.transData).extents == pytest.approx([1, 0.1, 3, 0.5])
    plt.close(figure)


def lab(colour: str) -> np.ndarray:
    """(3, 3) CIELAB as each kind of vision sees a colour."""
    channels = np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(VISION @ linear, 0, 1) @ XYZ.T / [0.95047, 1, 1.08883]
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def difference(one: str, other: str) -> float:
    """CIEDE2000, the smallest over the kinds of vision (Sharma, Wu & Dalal 2005)."""
    (l1, a1, b1), (l2, a2, b2) = lab(one), lab(other)
    chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    factor = 1.5 - 0.5 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    c1, c2 = np.hypot(a1 * factor, b1), np.hypot(a2 * factor, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1 * factor)), np.degrees(np.arctan2(b2, a2 * factor))
    turn = (h2 - h1 + 180) % 360 - 180
    light, chroma, hue = (l1 + l2) / 2, (c1 + c2) / 2, (h1 + turn / 2) % 360
    waves = (-0.17, 1, 30), (0.24, 2, 0), (0.32, 3, -6), (-0.2, 4, 63)
    t = 1 + sum(weight * np.cos(np.radians(times * hue - shift)) for weight, times, shift in waves)
    dl = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    dc = (c2 - c1) / (1 + 0.045 * chroma)
    dh = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * chroma * t)
    tilt = np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    rotation = -2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7)) * tilt
    return float(np.sqrt(dl**2 + dc**2 + dh**2 + rotation * dc * dh).min())


@pytest.mark.parametrize(
    "colours", [drawing.PALETTE, [*{*(METHOD_COLOURS | OWN_COLOURS).values()}]], ids=["palette", "ssl"]
)
def test_colour_blind_readers_can_tell_colours_apart(colours: list[str]):
    assert difference("#000000", "#ffffff") == pytest.approx(100, abs=0.1)
    close = {pair: round(difference(*pair), 1) for pair in combinations(colours, 2) if difference(*pair) < 10}
    assert close == {}


def test_variants_share_the_colour_of_their_method_and_differ_in_dashes():
    methods = {"simsiam": SIMSIAM, "simsiam_heavy": SIMSIAM, "no_predictor": SIMSIAM, "moco": "moco", "swav": "swav"}
    entries = {name: {"method": method} for name, method in methods.items()}
    found = lines(variants({"ssl": {"variants": entries}}))
    alone = lines(variants({"ssl": {"variants": {"simsiam_heavy": entries["simsiam_heavy"]}}}))
    assert found["simsiam"]["color"] == found["simsiam_heavy"]["color"] == alone["simsiam_heavy"]["color"] == "#0072B2"
    assert found["simsiam"]["linestyle"] == found["no_predictor"]["linestyle"] == "-"
    assert len({str(line) for line in found.values()}) == len(methods)
