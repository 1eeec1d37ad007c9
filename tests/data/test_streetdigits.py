"""Drawn digits are deterministic, balanced and readable, and follow their settings."""

import numpy as np
import pytest
import torch

from triptych.core.errors import InputError
from triptych.core.schema import validate
from triptych.data.sources.params import StreetDigits
from triptych.data.sources.streetdigits import BLOCK, draw

MIDDLING = {
    "name": "streetdigits", "root": "src/triptych/data/sources/streetdigits.py",
    "train": 10, "test": 10, "size": 32, "digit_height": [0.62, 0.85], "stretch": 0.15,
    "stroke": 0.6, "shift": 0.05, "rotation": 8.0, "shear": 0.12, "perspective": 0.12, "neighbours": 0.35,
    "luminance": [0.1, 0.9], "contrast": [0.35, 0.8], "channel_spread": 0.12, "gradient": 0.2, "texture": 0.05,
    "shadow": 0.4, "least_resolution": 20, "noise": 0.03,
}  # fmt: skip
EASY = MIDDLING | {
    "digit_height": [0.8, 0.8], "stretch": 0.0, "stroke": 0.0, "shift": 0.0, "rotation": 0.0, "shear": 0.0,
    "perspective": 0.0, "neighbours": 0.0, "luminance": [0.1, 0.1], "contrast": [0.8, 0.8], "channel_spread": 0.0,
    "gradient": 0.0, "texture": 0.0, "shadow": 0.0, "least_resolution": 32, "noise": 0.0,
}  # fmt: skip


def knobs(**changes: object) -> StreetDigits:
    return validate(StreetDigits, MIDDLING | changes, "data.generative", "params.yaml")


def easy(**changes: object) -> StreetDigits:
    return knobs(**(EASY | changes))


def test_images_and_labels_have_the_common_form():
    images, labels = draw(7, 0, "train", knobs(size=48))
    assert images.shape == (7, 3, 48, 48) and images.dtype == np.uint8
    assert labels.shape == (7,) and labels.dtype == np.int64


def test_fewer_images_are_a_prefix_of_more():
    few, few_labels = draw(BLOCK + 3, 5, "train", knobs())
    many, many_labels = draw(2 * BLOCK + 40, 5, "train", knobs())
    assert np.array_equal(few, many[: len(few)]) and np.array_equal(few_labels, many_labels[: len(few)])


def test_the_number_of_threads_changes_nothing():
    before = torch.get_num_threads()
    alone = draw(3 * BLOCK, 0, "train", knobs(), threads=1)
    together = draw(3 * BLOCK, 0, "train", knobs(), threads=3)
    torch.set_num_threads(2 if before == 1 else 1)
    try:
        otherwise = draw(3 * BLOCK, 0, "train", knobs())
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(alone[0], together[0]) and np.array_equal(alone[0], otherwise[0])


def test_drawing_leaves_torch_as_it_was():
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    draw(10, 0, "train", knobs())
    assert torch.get_num_threads() == threads and torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("other", [(1, "train"), (0, "test")])
def test_another_seed_or_split_shares_no_image(other):
    images, _ = draw(BLOCK, 0, "train", knobs())
    others, _ = draw(BLOCK, *other, knobs())
    assert not {image.tobytes() for image in images} & {image.tobytes() for image in others}


def test_no_image_is_drawn_twice():
    images, _ = draw(3 * BLOCK, 0, "train", knobs())
    assert len({image.tobytes() for image in images}) == len(images)


def test_every_ten_images_hold_each_digit_once():
    _, labels = draw(300, 0, "train", knobs())
    assert (np.sort(labels.reshape(-1, 10), axis=1) == np.arange(10)).all()


def test_easiest_digits_are_told_apart_by_their_nearest_neighbour():
    images, labels = draw(1000, 0, "train", easy())
    flat = torch.from_numpy(images).float().flatten(1)
    unseen, answers = draw(200, 0, "test", easy())
    nearest = torch.cdist(torch.from_numpy(unseen).float().flatten(1), flat).argmin(dim=1).numpy()
    assert (labels[nearest] == answers).mean() > 0.98


def test_the_digit_stands_out_by_the_contrast():
    """On a plain wall of brightness 0.1 with contrast 0.6, pixels range from 0.1 to 0.7."""
    images, _ = draw(100, 0, "train", easy(contrast=[0.6, 0.6]))
    # Only bold strokes cover whole pixels.
    assert images.min() == round(0.1 * 255) and images.max() == pytest.approx(0.7 * 255, abs=1)
    assert (images[:, :, 0, 0] == round(0.1 * 255)).all()


def test_without_channel_spread_images_are_grey_and_with_it_bounded():
    grey, _ = draw(100, 0, "train", easy())
    assert (grey[:, 0] == grey[:, 1]).all() and (grey[:, 0] == grey[:, 2]).all()
    colour, _ = draw(100, 0, "train", easy(luminance=[0.5, 0.5], channel_spread=0.1))
    wall = colour[:, :, 0, 0].astype(float) / 255
    assert (np.abs(wall - 0.5) <= 0.1 + 1 / 255).all() and np.abs(wall - 0.5).max() > 0.05


def test_neighbours_reach_the_frame_in_their_share_of_images():
    alone, _ = draw(500, 0, "train", easy(digit_height=[0.7, 0.7]))
    crowded, _ = draw(500, 0, "train", easy(digit_height=[0.7, 0.7], neighbours=0.5))
    empty, full = alone[:, 0, :, 31].max(axis=1), crowded[:, 0, :, 31].max(axis=1)
    assert (empty < 60).all()
    # Some neighbours are too narrow to reach the last column.
    assert 0.3 < (full > 60).mean() <= 0.58


@pytest.mark.parametrize("knob", ["rotation", "shear", "perspective", "shift", "stretch", "stroke"])
def test_each_geometric_knob_moves_pixels(knob):
    still, _ = draw(50, 0, "train", easy())
    moved, _ = draw(50, 0, "train", easy(**{knob: 15.0 if knob == "rotation" else 0.2}))
    assert (still != moved).any(axis=(1, 2, 3)).mean() > 0.9


@pytest.mark.parametrize(("knob", "value"), [("gradient", 0.3), ("texture", 0.1), ("noise", 0.1)])
def test_each_light_knob_varies_the_bare_wall(knob, value):
    corner = draw(100, 0, "train", easy(luminance=[0.5, 0.5], contrast=[0.3, 0.3], **{knob: value}))[0][:, 0, :3, :3]
    assert corner.std() > 3


def test_a_lower_least_resolution_blurs():
    def steepness(least: int) -> float:
        images, _ = draw(200, 0, "train", easy(least_resolution=least))
        return float(np.abs(np.diff(images.astype(float), axis=-1)).max(axis=(1, 2, 3)).mean())

    assert steepness(8) < 0.9 * steepness(32)


def test_impossible_knobs_are_refused_in_one_line():
    for change, says in [
        ({"contrast": [0.8, 0.3]}, "low <= high"),
        ({"contrast": [0.8]}, "at least 2"),
        ({"luminance": [0.1, 1.5]}, "less than or equal to 1"),
        ({"least_resolution": 33}, r"must be at most size \(32\), got 33"),
        ({"digit_height": [0.0, 0.5]}, "0.2"),
        ({"neighbours": float("nan")}, "neighbours"),
        ({"contrats": [0.3, 0.8]}, "did you mean 'contrast'"),
    ]:
        with pytest.raises(InputError, match=says) as caught:
            knobs(**change)
        assert "\n" not in str(caught.value)
