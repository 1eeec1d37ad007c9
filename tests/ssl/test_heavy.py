"""A heavy view is what torchvision's RandAugment makes of a view, with the same operation at the same magnitude."""

import math

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as reference

from triptych.machine import device
from triptych.machine.randomness import Draw
from triptych.ssl.shared import heavy
from triptych.ssl.shared.heavy import OPERATIONS, HeavyParams, RandAugment, augmented
from triptych.ssl.shared.params import ViewParams
from triptych.ssl.shared.views import Views

VIEWS = {
    "crop_scale": [0.2, 1.0], "crop_ratio": [0.75, 1.3333], "flip": 0.5, "rotation": 10.0, "jitter": 0.8,
    "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "grey": 0.2, "blur": 0.5,
    "blur_sigma": [0.1, 2.0], "solarize": 0.2, "invert": 0.2,
}  # fmt: skip
SIGNED = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate", "sharpness")
SHAPES = [(3, 32, 32), (1, 28, 28), (3, 20, 28)]
MANY = 4000


def rand_augment(operations: int = 2, magnitude: float = 9.0) -> RandAugment:
    return RandAugment(HeavyParams(operations=operations, magnitude=magnitude))


def drawing(row: int = 0, rows: int = 0) -> Draw:
    return Draw("cpu", (0, "heavy"), row, rows)


def batch(count: int = 12, channels: int = 3, height: int = 32, width: int = 32) -> Tensor:
    """Random floats: all over the range, dark ones, ones of few levels, and flat ones, in turn."""
    images = torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(0))
    images[1::4] = 0.1 + 0.2 * images[1::4] ** 2
    images[2::4] = (3 * images[2::4]).round() / 3
    images[3::4] = images[3::4, :, :1, :1]
    images[0, :, 0], images[0, :, 1] = 0.0, 1.0
    return images.mul_(2).sub_(1)


def unit(images: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1], where torchvision works."""
    return images.add(1).div(2)


def mapped(image: Tensor, shear: tuple = (0.0, 0.0), shift: tuple = (0, 0), angle: float = 0.0) -> Tensor:
    """torchvision's affine map in [-1, 1], where its black is mid-grey; shears in pixels a pixel."""
    degrees = [math.degrees(math.atan(slope)) for slope in shear]
    center = [0, 0] if any(shear) else None
    return reference.affine(image, angle, list(shift), 1.0, degrees, v2.InterpolationMode.BILINEAR, center=center)


def theirs(name: str, image: Tensor, magnitude: float, sign: int) -> Tensor:
    """One operation of torchvision on one image (C, H, W) in [-1, 1], by its table of 30 magnitudes."""
    table, bins = v2.RandAugment._AUGMENTATION_SPACE, 31
    key = {"rotate": "Rotate"}.get(name, "".join(part.capitalize() for part in name.split("_")))
    values = table[key][0](bins, *image.shape[-2:])
    level = 0.0 if values is None else float(values[round(3 * magnitude)]) * (sign if table[key][1] else 1)
    if name.startswith("shear"):
        return mapped(image, shear=(level, 0.0) if name == "shear_x" else (0.0, level))
    if name.startswith("translate"):
        return mapped(image, shift=(int(level), 0) if name == "translate_x" else (0, int(level)))
    if name == "rotate":
        return reference.rotate(image, level, v2.InterpolationMode.BILINEAR)
    if name == "sharpness":
        return reference.adjust_sharpness(unit(image), 1 + level).mul(2).sub(1)
    on_levels = {
        "posterize": lambda levels: reference.posterize(levels, int(level)),
        "solarize": lambda levels: reference.solarize(levels, 255 * level),
        "equalize": reference.equalize,
    }
    levels = reference.to_dtype(unit(image), torch.uint8, scale=True)
    return on_levels[name](levels).float().div(127.5).sub(1)


def cut(image: Tensor, magnitude: float, place: Tensor) -> Tensor:
    """The image without a square about a place, which is in shares of its height and width."""
    side = round(magnitude / 20 * min(image.shape[-2:]))
    top, left = (int(share * size) - side // 2 for share, size in zip(place.tolist(), image.shape[-2:], strict=True))
    bottom, right = top + side, left + side
    top, left = max(top, 0), max(left, 0)
    return reference.erase(image, top, left, max(bottom - top, 0), max(right - left, 0), torch.zeros(1))


def alone(name: str, images: Tensor, magnitude: float, sign: Tensor, place: Tensor) -> Tensor:
    return augmented(images, torch.full_like(sign, OPERATIONS.index(name)).long(), magnitude, sign, place)


# --- Each operation is torchvision's ---


@pytest.mark.parametrize(("channels", "height", "width"), SHAPES)
@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "cutout"])
def test_operations_are_torchvision_s_at_torchvision_s_magnitudes(name, channels, height, width):
    images = batch(channels=channels, height=height, width=width)
    sign = torch.tensor([1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0] * 2)[:12]
    # A source that two float32 computations place differently by 1e-6 pixels changes the value by up to 2e-6.
    tolerance = 2e-5 if name.startswith(("shear", "translate", "rotate")) else 2e-6
    for magnitude in (1.0, 3.0, 5.0, 9.0, 10.0):
        views = alone(name, images, magnitude, sign, torch.zeros(12, 2))
        expected = [theirs(name, image, magnitude, int(one)) for image, one in zip(images, sign, strict=True)]
        torch.testing.assert_close(views, torch.stack(expected), rtol=0, atol=tolerance)
        # A tenth of a shift can be less than a pixel.
        assert magnitude == 1.0 or (views != images).any()


@pytest.mark.parametrize(("channels", "height", "width"), SHAPES)
def test_a_cutout_is_a_square_about_its_place_cut_off_at_the_border(channels, height, width):
    images = batch(50, channels, height, width)
    place = torch.rand(50, 2, generator=torch.Generator().manual_seed(1))
    place[0], place[1] = 0.0, 1 - 2**-24
    for magnitude in (0.0, 3.0, 9.0, 10.0):
        views = alone("cutout", images, magnitude, torch.ones(50), place)
        assert torch.equal(views, torch.stack([cut(images[n], magnitude, place[n]) for n in range(50)]))


def test_no_magnitude_moves_sharpens_or_cuts_nothing():
    images = batch()
    for name in (*SIGNED, "cutout"):
        views = alone(name, images, 0.0, torch.ones(12), torch.full((12, 2), 0.5))
        torch.testing.assert_close(views, images, rtol=0, atol=1e-6)


# --- What is drawn ---


def test_each_operation_and_sign_is_drawn_as_often_as_the_others():
    image = batch(1, height=16, width=16)
    views = rand_augment(operations=1)(image.expand(MANY, -1, -1, -1), drawing())
    candidates = {
        (name, sign): alone(name, image, 9.0, torch.tensor([sign]), torch.zeros(1, 2))
        for name in OPERATIONS if name != "cutout"
        for sign in ((1.0, -1.0) if name in SIGNED else (1.0,))
    }  # fmt: skip
    made = {key: (views - view).abs().flatten(1).amax(dim=1) < 1e-5 for key, view in candidates.items()}
    rest = ~torch.stack(list(made.values())).any(dim=0)
    for (name, _), images in {**made, ("cutout", 1.0): rest}.items():
        probability = 0.05 if name in SIGNED else 0.1
        share = images.double().mean().item()
        assert abs(share - probability) < 4 * math.sqrt(probability * (1 - probability) / MANY), name
    assert torch.stack(list(made.values())).sum(dim=0).max() == 1
    # The square has 7 of 16 pixels a side, so that this share of its places covers a pixel amid the image.
    blank, covers = (views[rest][:, :, 8, 8] == 0).all(dim=1).double().mean().item(), (7 / 16) ** 2
    assert abs(blank - covers) < 4 * math.sqrt(covers * (1 - covers) / rest.sum().item())


def test_rounds_follow_each_other_each_with_operations_of_its_own():
    images, one, two = batch(), drawing(), drawing()
    once = rand_augment(operations=1)
    twice = once(once(images, one), one)
    assert torch.equal(rand_augment(operations=2)(images, two), twice)
    assert torch.equal(one.uniform((4,)), two.uniform((4,)))


def test_no_operations_give_the_very_tensor_and_draw_nothing():
    images, draw = batch(), drawing()
    assert rand_augment(operations=0)(images, draw) is images
    assert torch.equal(draw.uniform((4,)), drawing().uniform((4,)))


def test_processes_share_one_batch_of_heavy_views():
    images, heavy = batch(), rand_augment()
    apart = [heavy(images[:5], drawing(row=0, rows=12)), heavy(images[5:], drawing(row=5, rows=12))]
    assert torch.equal(torch.cat(apart), heavy(images, drawing()))


@pytest.mark.parametrize(("channels", "height", "width"), [*SHAPES, (3, 31, 17), (3, 2, 5)])
def test_one_pass_makes_what_torch_s_operations_make(channels, height, width, monkeypatch):
    images = batch(16, channels, height, width)
    sign, place = torch.linspace(-1, 1, 16).sign(), torch.rand(16, 2, generator=torch.Generator().manual_seed(0))
    for magnitude in (0.0, 5.0, 10.0):
        for name in OPERATIONS:
            in_one_pass = alone(name, images, magnitude, sign, place)
            with monkeypatch.context() as patch:
                patch.setattr(device, "kernels", "plain")
                expected = alone(name, images, magnitude, sign, place)
            tolerance = 1e-5 if name in heavy.MAPS else 1e-6 if name == "sharpness" else 0
            torch.testing.assert_close(in_one_pass, expected, rtol=0, atol=tolerance, msg=f"{name} at {magnitude}")


def test_heavy_views_are_the_views_altered_last():
    images, draw = batch(64), drawing()
    heavy = HeavyParams(operations=2, magnitude=9.0)
    standard = Views(ViewParams(**VIEWS, heavy=HeavyParams(operations=0, magnitude=9.0)))(images, draw)
    expected = RandAugment(heavy)(standard, draw)
    assert torch.equal(Views(ViewParams(**VIEWS, heavy=heavy))(images, drawing()), expected)


# --- What holds of every heavy view ---


@pytest.mark.parametrize(("channels", "height", "width"), SHAPES)
@pytest.mark.parametrize("magnitude", [0.0, 9.0, 10.0])
def test_heavy_views_have_the_form_and_range_of_views(channels, height, width, magnitude):
    images = batch(400, channels, height, width)
    before = images.clone()
    views = rand_augment(operations=4, magnitude=magnitude)(images, drawing())
    assert views.shape == images.shape and views.dtype == torch.float32
    assert views.is_contiguous(memory_format=torch.channels_last)
    assert views.min() >= -1 and views.max() <= 1 and torch.equal(images, before)


def test_black_and_white_stay_within_the_range():
    """Interpolation rounds past it by an ulp, which levels must not take for one of their own."""
    for images in (torch.ones(400, 3, 28, 28), -torch.ones(400, 3, 28, 28)):
        views = rand_augment(operations=6, magnitude=7.0)(images, drawing())
        assert views.min() >= -1 and views.max() <= 1


def test_heavy_views_are_made_in_full_precision_and_pass_no_gradient():
    images, heavy = batch(), rand_augment()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = heavy(images.requires_grad_(), drawing())
    assert torch.equal(inside, heavy(images, drawing())) and not inside.requires_grad
