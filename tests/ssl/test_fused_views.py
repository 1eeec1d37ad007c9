"""Views made in one pass on a CPU are those of torch's operations, which `test_views.py` holds to torchvision."""

import shutil
from pathlib import Path

import numba
import pytest
import torch
from test_views import ALONE, EVERYTHING, NOTHING, batch, drawing, params
from torch import Tensor

from triptych.machine import device
from triptych.nn.fast import views as kernels
from triptych.nn.fast.compiled import StateLocator, compiled
from triptych.ssl.shared import views as made
from triptych.ssl.shared.views import Views

CROP = {"crop_scale": [0.2, 1.0], "crop_ratio": [0.5, 2.0]}
OPERATIONS = {name: change for name, change in ALONE.items() if name != "heavy"}
CHANGES = {
    "nothing": {},
    "crop": CROP,
    **OPERATIONS,
    "turned over": {"rotation": 180.0},
    "cropped, flipped and turned": CROP | {"flip": 0.5, "rotation": 45.0},
    "strong jitter": {"jitter": 0.5, "brightness": 2.0, "contrast": 2.0, "saturation": 2.0, "hue": 0.5},
    "everything": EVERYTHING | {"heavy": NOTHING["heavy"]},
}
# Sources of two float32 computations differ by some 1e-6 pixels, across which values change by up to 2; hues as much.
TOLERANCE = 1e-5


def by_torch(views: Views, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    with monkeypatch.context() as patch:
        patch.setattr(device, "kernels", "plain")
        return views(images, drawing())


@pytest.mark.parametrize(
    ("channels", "height", "width", "size"),
    [(3, 32, 32, 0), (1, 32, 32, 0), (3, 31, 17, 0), (3, 20, 28, 11), (1, 5, 40, 48), (3, 5, 40, 0), (3, 3, 1, 0)],
)
def test_views_are_those_of_torch_s_operations(channels, height, width, size, monkeypatch):
    images = batch(64, channels, height, max(width, 8))[..., :width]
    for name, change in CHANGES.items():
        views = Views(params(**change), size)
        ours, theirs = views(images, drawing()), by_torch(views, images, monkeypatch)
        assert ours.is_contiguous(memory_format=torch.channels_last), name
        torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE, msg=lambda text, name=name: f"{name}: {text}")


def test_images_that_an_operation_spares_have_the_bits_that_torch_leaves(monkeypatch):
    images = torch.rand(200, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for name, change in OPERATIONS.items():
        chance = {key: 0.5 for key in change if change[key] == 1.0}
        views = Views(params(**change | chance))
        ours, theirs = views(images, drawing()) == images, by_torch(views, images, monkeypatch) == images
        spared = theirs.flatten(1).all(dim=1)
        assert torch.equal(ours.flatten(1).all(dim=1), spared), name
        assert 0 < spared.sum() < 200 or not chance, name


def test_the_order_of_the_images_in_memory_changes_no_bit():
    images, views = batch(height=20, width=28), Views(params(**EVERYTHING))
    expected = views(images, drawing())
    rows_first = images.transpose(2, 3).contiguous().transpose(2, 3)
    for other in (images.contiguous(memory_format=torch.channels_last), rows_first, images.repeat(2, 1, 1, 1)[:12]):
        assert torch.equal(views(other, drawing()), expected)


def test_an_image_is_altered_the_same_way_amid_any_others():
    images, views = batch(), Views(params(**EVERYTHING))
    others = torch.cat([images[:6], images[6:].neg()])
    assert torch.equal(views(images, drawing())[:6], views(others, drawing())[:6])


def test_the_kernel_makes_views_on_a_cpu_and_torch_where_it_compiles_or_kernels_are_plain(monkeypatch):
    images = batch()
    assert kernels.fusible(images) and not kernels.fusible(images.to("meta")) and not kernels.fusible(images.double())
    monkeypatch.setattr(made, "torch_views", lambda *arguments: pytest.fail("torch's operations were used"))
    Views(params(**EVERYTHING))(images, drawing())
    monkeypatch.undo()
    for owner, name, value in ((torch.compiler, "is_compiling", lambda: True), (device, "kernels", "plain")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, value)
            patch.setattr(kernels, "fuse", lambda *arguments: pytest.fail("the kernel was used"))
            patch.setattr(kernels, "fuse_heavy", lambda *arguments: pytest.fail("the kernel was used"))
            Views(params(**EVERYTHING))(images, drawing())


def test_without_a_folder_for_machine_code_it_is_compiled_anew(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "file"))  # in which no folder can be made
    assert StateLocator.from_function(one_more, __file__) is None
    assert compiled(one_more)(1.0) == 2.0


def test_copies_of_a_file_share_its_machine_code_and_another_state_of_it_has_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "machine code"))
    copy, changed = tmp_path / "copy.py", tmp_path / "changed.py"
    shutil.copy(__file__, copy)
    changed.write_text(copy.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    here, there, other = (StateLocator.from_function(one_more, str(file)) for file in (__file__, copy, changed))
    assert here.get_cache_path() == there.get_cache_path() != other.get_cache_path()
    assert here.get_source_stamp() == there.get_source_stamp()
    assert compiled(one_more)(1.0) == 2.0
    assert list(Path(here.get_cache_path()).glob("*.nbc"))


def one_more(number: float) -> float:
    return number + 1
