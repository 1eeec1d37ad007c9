"""A view is what torchvision makes of each image with the same numbers, and the numbers come as torchvision's do."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as reference

from triptych.core.errors import InputError
from triptych.core.schema import validate
from triptych.machine.randomness import Draw
from triptych.ssl.methods.asymsiam import ViewChanges
from triptych.ssl.shared import views as made
from triptych.ssl.shared.heavy import rotation, sample
from triptych.ssl.shared.params import ViewParams
from triptych.ssl.shared.views import Views
from triptych.training.objective import to_float

NOTHING = {
    "crop_scale": [1.0, 1.0], "crop_ratio": [1.0, 1.0], "flip": 0.0, "jitter": 0.0, "brightness": 0.0,
    "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "grey": 0.0, "blur": 0.0, "blur_sigma": [1.0, 1.0],
    "solarize": 0.0, "invert": 0.0, "rotation": 0.0, "heavy": {"operations": 0, "magnitude": 9.0},
}  # fmt: skip
EVERYTHING = {
    "crop_scale": [0.2, 1.0], "crop_ratio": [0.75, 1.3333], "flip": 0.5, "jitter": 0.8, "brightness": 0.4,
    "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "grey": 0.3, "blur": 0.5, "blur_sigma": [0.1, 2.0],
    "solarize": 0.3, "invert": 0.3, "rotation": 20.0, "heavy": {"operations": 2, "magnitude": 9.0},
}  # fmt: skip
# Each operation alone, sure to change the images.
ALONE = {
    "flip": {"flip": 1.0},
    "rotation": {"rotation": 90.0},
    "brightness": {"jitter": 1.0, "brightness": 0.4},
    "contrast": {"jitter": 1.0, "contrast": 0.4},
    "saturation": {"jitter": 1.0, "saturation": 0.4},
    "hue": {"jitter": 1.0, "hue": 0.2},
    "grey": {"grey": 1.0},
    "blur": {"blur": 1.0},
    "solarize": {"solarize": 1.0},
    "invert": {"invert": 1.0},
    "heavy": {"heavy": {"operations": 1, "magnitude": 9.0}},
}
COLOURS = ("saturation", "hue", "grey")
MANY = 4000


def params(**changes: object) -> ViewParams:
    return validate(ViewParams, NOTHING | changes, "views", "params.yaml")


def drawing(step: int = 0, row: int = 0, rows: int = 0) -> Draw:
    return Draw("cpu", (0, "view", step), row, rows)


def batch(count: int = 12, channels: int = 3, height: int = 32, width: int = 32) -> Tensor:
    """Random pixels, of which some are grey, black, white, or pure in colour."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count, channels, height, width), dtype=np.uint8)
    pixels[:, :, 0] = pixels[:, :1, 0]
    pixels[:, :, 1, :4] = 0
    pixels[:, :, 1, 4:8] = 255
    pixels[:, :, 2] = np.where(pixels[:, :, 2] < 128, 0, 255)
    return to_float(torch.from_numpy(pixels))


def spread(low: float, high: float, count: int = 12) -> Tensor:
    """Another parameter for each image of a batch."""
    return torch.linspace(low, high, count)


def some(count: int = 12) -> Tensor:
    """An operation that applies to two images of three."""
    return torch.arange(count) % 3 != 1


def unit(images: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1], where torchvision works."""
    return images.add(1).div(2)


def assert_same(views: Tensor, expected: list[Tensor]) -> None:
    """Views in [-1, 1] against torchvision's of each image in [0, 1]."""
    torch.testing.assert_close(unit(views), torch.stack(expected), rtol=0, atol=2e-6)


# --- Each operation is torchvision's ---


@pytest.mark.parametrize(
    ("height", "width", "size"), [(32, 32, (32, 32)), (20, 28, (20, 28)), (20, 28, (11, 11)), (20, 28, (40, 32))]
)
def test_crops_are_cut_then_resized_then_mirrored(height, width, size):
    images = batch(6, height=height, width=width)
    boxes = [
        (0, 0, height, width),
        (0, 0, 5, 7),
        (3, 4, 11, 1),
        (height - 9, width - 6, 9, 6),
        (7, 2, 1, 20),
        (1, 0, 8, 8),
    ]
    flipped = torch.tensor([False, True, True, False, True, True])
    views = made.resized_crop(images, torch.tensor(boxes).float(), flipped, size)
    resized = [
        reference.resized_crop(image, *box, list(size), antialias=False)
        for image, box in zip(unit(images), boxes, strict=True)
    ]
    assert_same(views, [image.flip(-1) if flip else image for image, flip in zip(resized, flipped, strict=True)])


@pytest.mark.parametrize(("channels", "height", "width"), [(3, 32, 32), (1, 20, 28), (3, 31, 17)])
def test_images_are_rotated_as_by_torchvision_where_the_source_lies_inside(channels, height, width):
    images, angles = batch(channels=channels, height=height, width=width), spread(-180.0, 180.0)
    views = sample(images, rotation(angles), "reflection")
    inside = torch.stack([source_inside(angle.item(), height, width) for angle in angles])[:, None]
    expected = torch.stack(
        [
            reference.rotate(image, angle.item(), v2.InterpolationMode.BILINEAR)
            for image, angle in zip(unit(images), angles, strict=True)
        ]
    )
    assert_rotated(torch.where(inside, unit(views), 0.0), torch.where(inside, expected, 0.0))
    assert inside.float().mean() > 0.6


def source_inside(angle: float, height: int, width: int) -> Tensor:
    """(H, W) whether a pixel's source lies between the centres of four pixels of the image."""
    y, x = np.mgrid[:height, :width] - np.array([height - 1, width - 1])[:, None, None] / 2
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    across, down = cos * x - sin * y, sin * x + cos * y
    return torch.from_numpy((abs(across) < (width - 1) / 2 - 1e-4) & (abs(down) < (height - 1) / 2 - 1e-4))


def assert_rotated(views: Tensor, expected: Tensor) -> None:
    """Sources of two float32 computations differ by some 1e-6 pixels, across which values change by up to 2e-6."""
    torch.testing.assert_close(views, expected, rtol=0, atol=1e-5)


def rotated(image: Tensor, angle: float) -> Tensor:
    """torchvision's rotation of the image amid its reflections."""
    height, width = image.shape[-2:]
    wider = reference.pad(image, [width, height], padding_mode="symmetric")
    turned = reference.rotate(wider, angle, v2.InterpolationMode.BILINEAR)
    return turned[:, height : 2 * height, width : 2 * width]


@pytest.mark.parametrize(("height", "width"), [(32, 32), (20, 28)])
def test_what_a_rotation_brings_in_is_the_image_reflected_at_its_border(height, width):
    images, angles = batch(height=height, width=width), spread(-180.0, 175.0)
    views = sample(images, rotation(angles), "reflection")
    expected = [rotated(image, angle.item()) for image, angle in zip(unit(images), angles, strict=True)]
    assert_rotated(unit(views), torch.stack(expected))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("adjust", "theirs", "low", "high"),
    [
        (made.adjust_brightness, reference.adjust_brightness, 0.0, 2.5),
        (made.adjust_contrast, reference.adjust_contrast, 0.0, 2.5),
        (made.adjust_saturation, reference.adjust_saturation, 0.0, 2.5),
        (made.adjust_hue, reference.adjust_hue, -0.5, 0.5),
    ],
)
def test_colours_are_adjusted_as_by_torchvision(adjust, theirs, low, high, channels):
    images, factors = batch(channels=channels), spread(low, high)
    views = adjust(images, factors)  # first: what it changed in place, the reference would see
    assert_same(views, [theirs(image, factor.item()) for image, factor in zip(unit(images), factors, strict=True)])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("operation", "theirs"),
    [
        (made.greyscale, lambda image: reference.rgb_to_grayscale(image, num_output_channels=len(image))),
        (made.solarize, lambda image: reference.solarize(image, 0.5)),
        (made.invert, reference.invert),
    ],
    ids=["grey", "solarize", "invert"],
)
def test_chosen_images_are_changed_as_by_torchvision(operation, theirs, channels):
    images, chosen = batch(channels=channels), some()
    views = operation(images, chosen)
    assert_same(views, [theirs(image) if yes else image for image, yes in zip(unit(images), chosen, strict=True)])


@pytest.mark.parametrize(("channels", "height", "width"), [(3, 32, 32), (1, 20, 28), (3, 5, 40)])
def test_images_are_blurred_as_by_torchvision(channels, height, width):
    images, sigma, chosen = batch(channels=channels, height=height, width=width), spread(0.1, 2.0), some()
    radius = made.blur_radius([0.1, 2.0])
    # torchvision's kernel has two sizes too; in an image of 5 pixels no more than 4 can be reflected.
    sizes = [2 * min(radius, size - 1) + 1 for size in (width, height)]
    expected = [
        reference.gaussian_blur(image, sizes, [s.item()]) if yes else image
        for image, s, yes in zip(unit(images), sigma, chosen, strict=True)
    ]
    assert_same(made.gaussian_blur(images, sigma, chosen, radius), expected)


def test_views_are_all_operations_in_their_order():
    """The same numbers, drawn again, given to torchvision one image at a time."""
    recipe, images, again = params(**EVERYTHING | {"heavy": NOTHING["heavy"]}), batch(64), drawing()
    views = Views(recipe)(images, drawing())
    boxes = made.random_boxes(recipe.crop_scale, recipe.crop_ratio, (32, 32), 64, again)
    flipped = made.happens(recipe.flip, 64, again)
    angles = recipe.rotation * (2 * again.uniform((64,)) - 1)
    jitter = made.random_jitter(recipe, 64, again)
    grey, blurred = (made.happens(chance, 64, again) for chance in (recipe.grey, recipe.blur))
    sigma = 0.1 + 1.9 * again.uniform((64,))
    solarized, inverted = (made.happens(chance, 64, again) for chance in (recipe.solarize, recipe.invert))
    expected = []
    for n, image in enumerate(unit(images)):
        box = boxes[n].int().tolist()
        image = reference.resized_crop(image, *box, [32, 32], antialias=False)
        image = image.flip(-1) if flipped[n] else image
        image = rotated(image, angles[n].item())
        image = reference.adjust_brightness(image, jitter[n, 0].item())
        image = reference.adjust_contrast(image, jitter[n, 1].item())
        image = reference.adjust_saturation(image, jitter[n, 2].item())
        image = reference.adjust_hue(image, jitter[n, 3].item())
        image = reference.rgb_to_grayscale(image, num_output_channels=3) if grey[n] else image
        image = reference.gaussian_blur(image, 13, sigma[n].item()) if blurred[n] else image
        image = reference.solarize(image, 0.5) if solarized[n] else image
        expected.append(reference.invert(image) if inverted[n] else image)
    # Solarizing breaks at the middle: a value within rounding of it may fall on either side.
    solid = torch.stack(expected).sub(0.5).abs() > 1e-4
    assert_rotated(torch.where(solid, unit(views), 0.5), torch.where(solid, torch.stack(expected), 0.5))
    assert solid.float().mean() > 0.99


# --- The numbers are drawn as torchvision's ---


@pytest.mark.parametrize(
    ("scale", "ratio", "size"),
    [
        ([0.2, 1.0], [0.75, 4 / 3], (32, 32)),
        ([0.08, 0.5], [0.5, 2.0], (32, 48)),
        # Most of these do not fit, so that trials are repeated and boxes fall back to the centre.
        ([0.6, 1.0], [1.5, 3.0], (32, 32)),
    ],
)
def test_boxes_are_spread_as_torchvision_s(scale, ratio, size):
    boxes = made.random_boxes(scale, ratio, size, MANY, drawing()).double().numpy()
    transform, image = v2.RandomResizedCrop(size, scale, ratio), torch.zeros(1, *size)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [transform.make_params([image]) for _ in range(MANY)]
    theirs = np.array([[box[side] for side in ("top", "left", "height", "width")] for box in drawn], dtype=float)
    for measure in (area, aspect, *(lambda box, side=side: box[:, side] for side in range(4))):
        assert ks_2samp(measure(boxes), measure(theirs), method="asymp").pvalue > 0.01


def area(boxes: np.ndarray) -> np.ndarray:
    return boxes[:, 2] * boxes[:, 3]


def aspect(boxes: np.ndarray) -> np.ndarray:
    return boxes[:, 3] / boxes[:, 2]


def test_boxes_are_whole_pixels_within_the_image_and_reach_its_borders():
    boxes = made.random_boxes([0.05, 1.0], [0.5, 2.0], (20, 28), MANY, drawing())
    top, left, height, width = boxes.unbind(1)
    for start, length, size in ((top, height, 20), (left, width, 28)):
        end = start + length
        assert (start.frac() == 0).all() and (length.frac() == 0).all()
        assert start.min() == 0 and length.min() >= 1 and end.max() == size and length.max() == size


@pytest.mark.parametrize(
    ("ratio", "box"),
    [([4.0, 5.0], (12, 0, 8, 32)), ([0.2, 0.25], (0, 12, 32, 8)), ([0.5, 2.0], (0, 0, 32, 32))],
)
def test_boxes_that_never_fit_fall_back_to_the_centre(ratio, box):
    # No side of such an area is a whole pixel in the last case: sqrt(1e-6) of 32 pixels rounds to 0.
    scale = [1.0, 1.0] if ratio != [0.5, 2.0] else [1e-6, 1e-6]
    boxes = made.random_boxes(scale, ratio, (32, 32), 50, drawing())
    assert (boxes == torch.tensor(box)).all()


def test_angles_are_spread_as_torchvision_s():
    transform = v2.RandomRotation(20.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = [transform.make_params([])["angle"] for _ in range(MANY)]
    ours = Views(params(rotation=20.0)).choose(MANY, (32, 32), drawing()).angles
    assert ks_2samp(ours.numpy(), theirs).pvalue > 0.01


def test_jitter_is_spread_as_torchvision_s():
    strengths = {"brightness": 0.4, "contrast": 1.5, "saturation": 0.7, "hue": 0.1}
    ours = made.random_jitter(params(jitter=1.0, **strengths), MANY, drawing())
    transform = v2.ColorJitter(**strengths)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [transform.make_params([]) for _ in range(MANY)]
    for index, name in enumerate(strengths):
        theirs = [factors[f"{name}_factor"] for factors in drawn]
        assert ks_2samp(ours[:, index].numpy(), theirs).pvalue > 0.01
    together = np.corrcoef(ours.T.numpy())
    assert np.abs(together - np.eye(4)).max() < 5 / math.sqrt(MANY)


def test_jitter_leaves_alone_all_four_or_none():
    still = made.random_jitter(params(**EVERYTHING), MANY, drawing()) == torch.tensor([1.0, 1.0, 1.0, 0.0])
    assert (still.any(dim=1) == still.all(dim=1)).all()


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.8])
def test_operations_happen_as_often_as_the_params_say(probability):
    images = batch(MANY, height=8, width=8)
    for operation in ("flip", "jitter", "grey", "blur", "solarize", "invert"):
        strength = {"brightness": 0.4} if operation == "jitter" else {}
        views = Views(params(**{operation: probability}, **strength))(images, drawing())
        share = (views != images).flatten(1).any(dim=1).double().mean().item()
        assert abs(share - probability) < 4 * math.sqrt(probability * (1 - probability) / MANY), operation


def test_the_operations_of_an_image_are_drawn_apart():
    """Flip, grey and invert fall together as often as independent chances do."""
    images = batch(MANY, height=8, width=8)
    changed = []
    views = Views(params(flip=0.5, solarize=0.5, invert=0.5))(images, drawing())
    for candidate in (images, images.flip(-1)):
        for sunny in (candidate, -candidate.abs()):
            changed += [(views == sunny).flatten(1).all(dim=1), (views == -sunny).flatten(1).all(dim=1)]
    shares = torch.stack(changed).double().mean(dim=1)
    assert (torch.stack(changed).sum(dim=0) == 1).all()
    assert ((shares - 1 / 8).abs() < 4 * math.sqrt(1 / 8 * 7 / 8 / MANY)).all()


def test_blurs_are_spread_evenly_between_their_sigmas():
    """An impulse's centre keeps the square of the kernel's middle weight, which says sigma."""
    impulse = torch.full((MANY, 1, 25, 25), -1.0)
    impulse[:, :, 12, 12] = 1.0
    views = Views(params(blur=1.0, blur_sigma=[0.5, 2.0]))(impulse, drawing())
    sigma = torch.linspace(0.5, 2.0, MANY)
    evenly = made.gaussian_blur(impulse, sigma, torch.ones(MANY, dtype=torch.bool), made.blur_radius([0.1, 2.0]))
    assert ks_2samp(views[:, 0, 12, 12].numpy(), evenly[:, 0, 12, 12].numpy()).pvalue > 0.01


# --- A view is a function of the seed and the step ---


def test_the_same_draw_makes_the_same_bits_and_goes_on_to_others():
    views, images = Views(params(**EVERYTHING)), batch()
    one, two = drawing(), drawing()
    first, second = views(images, one), views(images, one)
    assert torch.equal(first, views(images, two)) and torch.equal(second, views(images, two))
    assert (first != second).flatten(1).any(dim=1).all()
    assert (first != views(images, drawing(step=1))).flatten(1).any(dim=1).all()


def test_processes_share_one_batch():
    views, images = Views(params(**EVERYTHING)), batch()
    apart = [views(images[:5], drawing(row=0, rows=12)), views(images[5:], drawing(row=5, rows=12))]
    assert torch.equal(torch.cat(apart), views(images, drawing()))


def test_what_is_drawn_does_not_depend_on_the_images():
    views = Views(params(**EVERYTHING))
    one, two = drawing(), drawing()
    views(batch(height=32), one)
    views(batch(channels=1, height=16).neg(), two)
    assert torch.equal(one.uniform((4,)), two.uniform((4,)))


def test_operations_that_are_off_draw_nothing():
    views, again = drawing(), drawing()
    Views(params())(batch(), views)
    made.random_boxes([1.0, 1.0], [1.0, 1.0], (32, 32), 12, again)
    assert torch.equal(views.uniform((4,)), again.uniform((4,)))


def test_views_need_no_value_on_the_host_and_stay_on_the_device():
    """Tensors without values: whatever asked one for its value, or mixed devices, would fail."""
    with FakeTensorMode():
        draw = SimpleNamespace(uniform=lambda shape: torch.rand(shape, device="cuda"))
        images = torch.rand(12, 3, 32, 32, device="cuda")
        views = Views(params(**EVERYTHING))(images, draw)
    assert views.shape == images.shape and views.device.type == "cuda"


# --- What holds of every view ---


@pytest.mark.parametrize(("channels", "height", "width"), [(3, 32, 32), (1, 28, 28), (3, 20, 28)])
def test_views_have_the_form_and_range_of_images(channels, height, width):
    images = batch(200, channels, height, width)
    before = images.clone()
    views = Views(params(**EVERYTHING))(images, drawing())
    assert views.shape == images.shape and views.dtype == torch.float32
    assert views.is_contiguous(memory_format=torch.channels_last)
    assert views.min() >= -1 and views.max() <= 1 and torch.equal(images, before)


def test_views_can_be_smaller_than_the_images():
    images, everything = batch(200, height=20, width=28), params(**EVERYTHING)
    views = Views(everything, size=12)(images, drawing())
    assert views.shape == (200, 3, 12, 12) and views.is_contiguous(memory_format=torch.channels_last)
    assert views.min() >= -1 and views.max() <= 1
    whole = Views(params(), size=14)(images, drawing())
    expected = reference.resized_crop(unit(images), 0, 4, 20, 20, [14, 14], antialias=False)
    assert_same(whole, list(expected))


def test_strong_jitter_stays_within_the_range():
    strong = params(jitter=1.0, brightness=2.0, contrast=2.0, saturation=2.0, hue=0.5)
    views = Views(strong)(batch(200), drawing())
    assert views.min() == -1 and views.max() == 1


def test_each_operation_changes_images_and_nothing_else_does():
    images = batch()
    assert torch.equal(Views(params())(images, drawing()), images)
    for name, alone in ALONE.items():
        views = Views(params(**alone))(images, drawing())
        assert (views != images).flatten(1).any(dim=1).all(), name
        assert views.is_contiguous(memory_format=torch.channels_last), name


def test_images_of_one_channel_have_no_colour_to_change():
    images = batch(channels=1)
    for name, alone in ALONE.items():
        changed = (Views(params(**alone))(images, drawing()) != images).flatten(1).any(dim=1)
        assert changed.all() if name not in COLOURS else not changed.any(), name


def test_images_that_an_operation_spares_keep_their_bits():
    """A share of the images of any values, not only those of eight bits, comes out as it went in."""
    images = torch.rand(400, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for name, alone in ALONE.items():
        chance = {key: 0.5 for key in alone if alone[key] == 1.0}
        if not chance:
            continue
        views = Views(params(**alone | chance))(images, drawing())
        spared = (views == images).flatten(1).all(dim=1).double().mean().item()
        assert abs(spared - 0.5) < 4 * math.sqrt(0.25 / 400), name


def test_rounding_does_not_leave_the_range():
    """White stays white: weights that sum to a little more than one must not make it brighter."""
    white = torch.ones(200, 3, 32, 32)
    views = Views(params(crop_scale=[0.2, 1.0], crop_ratio=[0.75, 1.3333], blur=1.0, blur_sigma=[0.1, 2.0]))
    assert views(white, drawing()).max() == 1 and views(-white, drawing()).min() == -1


def test_no_gradient_passes_through_views():
    assert not Views(params(**EVERYTHING))(batch().requires_grad_(), drawing()).requires_grad


def test_reduced_precision_around_views_does_not_reach_them():
    views, images = Views(params(**EVERYTHING)), batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = views(images, drawing())
    assert torch.equal(inside, views(images, drawing()))


def test_impossible_params_are_refused_in_one_line():
    for change, says in [
        ({"crop_scale": [0.8, 0.2]}, "'views.crop_scale.*low <= high"),
        ({"crop_scale": [0.0, 1.0]}, "'views.crop_scale.*greater than 0"),
        ({"crop_scale": [0.2, 1.1]}, "'views.crop_scale.*less than or equal to 1"),
        ({"crop_ratio": [1.0]}, "'views.crop_ratio.*at least 2"),
        ({"crop_ratio": [2.0, 0.5]}, "'views.crop_ratio.*low <= high"),
        ({"blur_sigma": [0.0, 1.0]}, "'views.blur_sigma.*greater than 0"),
        ({"blur_sigma": [2.0, 1.0]}, "'views.blur_sigma.*low <= high"),
        ({"flip": 1.5}, "'views.flip' is 1.5"),
        ({"rotation": 181.0}, "'views.rotation' is 181.0"),
        ({"heavy": {"operations": -1, "magnitude": 9.0}}, "'views.heavy.operations' is -1"),
        ({"heavy": {"operations": 1, "magnitude": 10.5}}, "'views.heavy.magnitude' is 10.5"),
        ({"brightness": -0.1}, "'views.brightness' is -0.1"),
        ({"hue": 0.6}, "'views.hue' is 0.6"),
        ({"grey": float("nan")}, "views.grey"),
        ({"gray": 0.2}, "did you mean 'grey'"),
    ]:
        with pytest.raises(InputError, match=says) as caught:
            params(**change)
        assert "\n" not in str(caught.value)


# --- Changes of an augmentation ---


def changes(**values: object) -> ViewChanges:
    return validate(ViewChanges, values, "source", "params.yaml")


def test_changes_replace_what_they_name_at_any_depth_and_leave_the_rest():
    views = params(**EVERYTHING)
    assert changes().applied(views) == views
    changed = changes(rotation=5, crop_scale=[0.1, 0.3], flip=0.0, heavy={"operations": 0}).applied(views)
    heavy = {"operations": 0, "magnitude": 9.0}
    assert changed == params(**EVERYTHING | {"rotation": 5.0, "crop_scale": [0.1, 0.3], "flip": 0.0, "heavy": heavy})
    assert views == params(**EVERYTHING)


def test_any_key_of_an_augmentation_can_change_and_no_other():
    assert changes(**EVERYTHING).applied(params()) == params(**EVERYTHING)
    assert changes(**NOTHING).applied(params(**EVERYTHING)) == params()
    for change, says in [
        ({"rotatoin": 5.0}, "unknown key 'source.rotatoin'; did you mean 'rotation'"),
        ({"heavy": {"operation": 1}}, "unknown key 'source.heavy.operation'; did you mean 'operations'"),
        ({"crop_scale": [0.8, 0.2]}, "'source.crop_scale.*low <= high"),
        ({"flip": 1.5}, "'source.flip' is 1.5"),
    ]:
        with pytest.raises(InputError, match=says) as caught:
            changes(**change)
        assert "\n" not in str(caught.value)
