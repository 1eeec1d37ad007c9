"""Every source gives a dataset of the same format. Invalid input gives one line that names the file."""

import gzip
import hashlib
import os
import pickle
import struct
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import yaml
from PIL import EpsImagePlugin, Image
from scripts import run_script
from test_streetdigits import MIDDLING

from triptych.core.errors import InputError
from triptych.core.schema import validate
from triptych.data.sources.build import build, make_card
from triptych.data.sources.folder import read_image
from triptych.data.sources.params import Source
from triptych.data.storage import Split, load

ROOT = Path(__file__).parents[2]
MNIST = ROOT.parent / "shared" / "data" / "MNIST" / "raw"


def source(**params: object):  # one of the source sections
    return validate(Source, params, "data.generative", "params.yaml")


def refused(match: str, **params: object) -> None:
    with pytest.raises(InputError, match=match) as caught:
        build(source(**params), seed=0)
    assert "\n" not in str(caught.value)


def pairs(split: Split) -> list[tuple[bytes, int]]:
    """Return sorted (image, label) pairs."""
    return sorted((image.tobytes(), int(label)) for image, label in zip(split.images, split.labels, strict=True))


def same_images(split: Split, images: np.ndarray, labels: np.ndarray) -> bool:
    return pairs(split) == pairs(Split(images, labels))


def framed(images: np.ndarray) -> np.ndarray:
    return np.pad(images, ((0, 0), (2, 2), (2, 2)), mode="edge")[:, None]


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# --- streetdigits ---


def test_streetdigits_follow_the_seed():
    params = source(**MIDDLING | {"train": 20, "test": 10})
    once, again, other = build(params, 0), build(params, 0), build(params, 1)
    assert np.array_equal(once.train.images, again.train.images)
    assert not np.array_equal(once.train.images, other.train.images)
    assert (len(once.train.images), len(once.test.images), len(once.classes)) == (20, 10, 10)


def test_too_few_digits_for_every_class_are_refused():
    refused("test: class '.' has no image", **MIDDLING | {"train": 20, "test": 3})


# --- torchvision's datasets, from files of their own layouts ---


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    for prefix, count in (("train", 40), ("t10k", 20)):
        write_idx(tmp_path / "MNIST" / "raw" / f"{prefix}-images-idx3-ubyte", pixels(count, 28, 28))
        write_idx(tmp_path / "MNIST" / "raw" / f"{prefix}-labels-idx1-ubyte", np.arange(count) % 10)
    return tmp_path


def mnist_params(root: Path, **changes: object) -> dict:
    return {"name": "mnist", "root": str(root), "download": False, "train": None, "test": None} | changes


def test_mnist_is_framed_to_sides_that_networks_can_halve_and_the_card_says_so(mnist):
    dataset = build(source(**mnist_params(mnist)), seed=0)
    assert dataset.train.images.shape == (40, 1, 32, 32) and dataset.train.images.dtype == np.uint8
    assert same_images(dataset.train, framed(pixels(40, 28, 28)), np.arange(40) % 10)
    assert same_images(dataset.test, framed(pixels(20, 28, 28)), np.arange(20) % 10)
    assert dataset.classes == list("0123456789")
    assert make_card(dataset)["source"].endswith("framed from 28 x 28 to 32 x 32 by its border pixels")


def test_a_sorted_dataset_is_shuffled_by_the_seed(tmp_path):
    """Measures use the first images of a split, which would be of one class in a sorted dataset."""
    arranged = np.repeat(np.arange(3), 40)
    given = npz(tmp_path, x_train=pixels(120, 8, 8, 3), y_train=arranged)
    once, again, other = (build(source(**given), seed) for seed in (0, 0, 1))
    assert np.array_equal(once.train.images, again.train.images)
    assert not np.array_equal(once.train.images, other.train.images)
    assert same_images(once.train, pixels(120, 8, 8, 3).transpose(0, 3, 1, 2), arranged)
    assert all(np.bincount(dataset.train.labels[:30], minlength=3).min() >= 4 for dataset in (once, other))


def test_a_subset_is_part_of_a_larger_one_and_follows_the_seed(mnist):
    def images(count: int | None, seed: int = 0) -> list[bytes]:
        dataset = build(source(**mnist_params(mnist, train=count)), seed)
        return [image.tobytes() for image in dataset.train.images]

    assert set(images(38)) < set(images(39)) < set(images(None)) and images(38) == images(38)
    assert set(images(38)) != set(images(38, seed=1))


def test_a_subset_larger_than_the_whole_is_refused(mnist):
    refused("mnist: train: 41 images requested, but the dataset has only 40", **mnist_params(mnist, train=41))


def test_damaged_mnist_files_are_named(mnist):
    for name in ("train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        path = mnist / "MNIST" / "raw" / name
        whole = path.read_bytes()
        for content in (whole[:-1], b"", b"PK" + whole):  # truncated, empty, not IDX
            path.write_bytes(content)
            refused(name, **mnist_params(mnist))
        path.unlink()
        refused(name, **mnist_params(mnist))
        path.write_bytes(whole)


def test_mnist_labels_out_of_range_are_refused(mnist):
    write_idx(mnist / "MNIST" / "raw" / "train-labels-idx1-ubyte", np.arange(40) % 11)
    refused("mnist.*label 10 of image 10 is out of range", **mnist_params(mnist))


def test_a_failed_download_is_one_line(tmp_path, monkeypatch, capfd):
    from torchvision import datasets

    monkeypatch.setattr(datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    refused("mnist.*could not be downloaded", **mnist_params(tmp_path, download=True))
    assert len("".join(capfd.readouterr()).splitlines()) == 1  # the message before the download


@pytest.mark.skipif(not MNIST.is_dir(), reason="the MNIST files are not on this machine")
def test_the_real_mnist(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for archive in MNIST.glob("*.gz"):
        (raw / archive.stem).write_bytes(gzip.decompress(archive.read_bytes()))
    dataset = build(source(**mnist_params(tmp_path, train=1000)), seed=0)
    assert dataset.train.images.shape == (1000, 1, 32, 32) and len(dataset.test.images) == 10_000
    assert np.bincount(dataset.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.fixture
def svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from scipy.io import savemat
    from torchvision.datasets import SVHN

    known = {}
    for split, count in (("train", 40), ("test", 20)):
        path = tmp_path / f"{split}_32x32.mat"
        # As published: (height, width, channel, image), and label 10 for the digit 0.
        savemat(path, {"X": pixels(32, 32, 3, count), "y": np.arange(1, count + 1).reshape(-1, 1) % 10 + 1})
        known[split] = ["", path.name, hashlib.md5(path.read_bytes()).hexdigest()]
    monkeypatch.setattr(SVHN, "split_list", known)
    return tmp_path


def svhn_params(root: Path) -> dict:
    return {"name": "svhn", "root": str(root), "download": False, "train": None, "test": None}


def test_svhn_becomes_nchw_with_zero_for_ten(svhn):
    dataset = build(source(**svhn_params(svhn)), seed=0)
    images, labels = pixels(32, 32, 3, 40).transpose(3, 2, 0, 1), (np.arange(1, 41) % 10 + 1) % 10
    assert same_images(dataset.train, images, labels)


def test_an_altered_svhn_file_is_named(svhn):
    path = svhn / "test_32x32.mat"
    path.write_bytes(path.read_bytes()[:-10])
    refused(r"test_32x32\.mat: wrong checksum", **svhn_params(svhn))
    path.unlink()
    refused(r"test_32x32\.mat: no such file", **svhn_params(svhn))


def test_cifar10_becomes_nchw_and_an_altered_file_is_never_unpickled(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()

    def store(name: str, content: dict) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    images = {"train": pixels(30, 3 * 32 * 32, seed=1), "test": pixels(20, 3 * 32 * 32, seed=2)}
    for split, rows in images.items():
        md5 = store(split, {"data": rows, "labels": [row % 10 for row in range(len(rows))]})
        monkeypatch.setattr(CIFAR10, f"{split}_list", [[split, md5]])
    names = [f"kind {label}" for label in range(10)]
    md5 = store("batches.meta", {"label_names": names})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": md5})

    params = {"name": "cifar10", "root": str(tmp_path), "download": False, "train": None, "test": None}
    dataset = build(source(**params), seed=0)
    assert same_images(dataset.test, images["test"].reshape(-1, 3, 32, 32), np.arange(20) % 10)
    assert dataset.classes == names

    class Payload:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "executed"),)

    (folder / "test").write_bytes(pickle.dumps(Payload()))
    refused("test: wrong checksum", **params)
    assert not (tmp_path / "executed").exists()


# --- a user's own images ---


def write_images(folder: Path, count: int, size: tuple[int, int] = (20, 30), seed: int = 0) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(pixels(size[1], size[0], 3, seed=seed + number)).save(folder / f"{number}.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split in ("train", "test"):
        for label, name in enumerate(("cat", "dog")):
            write_images(tmp_path / split / name, 3, seed=10 * label)
    return tmp_path


def folder_params(root: Path) -> dict:
    return {"name": "folder", "root": str(root), "size": 16}


def test_class_folders_become_labels(folder):
    (folder / "train" / ".cache").mkdir()
    dataset = build(source(**folder_params(folder)), seed=0)
    assert dataset.train.images.shape == (6, 3, 16, 16) and dataset.classes == ["cat", "dog"]
    assert sorted(dataset.train.labels.tolist()) == [0, 0, 0, 1, 1, 1] and dataset.labelled
    assert not dataset.skipped
    cats = [read_image(path, 16) for path in (folder / "train" / "cat").iterdir()]
    assert {image.tobytes() for image in cats} == {image for image, label in pairs(dataset.train) if label == 0}


def test_what_is_no_image_is_left_out_and_said(folder, capsys):
    cats = folder / "train" / "cat"
    for name in ("notes.txt", "list.csv", "more.csv", "README"):
        (cats / name).write_text("not an image")
    for hidden in (".DS_Store", "Thumbs.db", "._0.png", ".git/x.png", "__MACOSX/y.png"):
        (cats / hidden).parent.mkdir(exist_ok=True)
        (cats / hidden).write_text("of the system")
    (cats / "gone.png").symlink_to(folder / "nowhere.png")
    dataset = build(source(**folder_params(folder)), seed=0)
    assert len(dataset.train.images) == 6
    assert dataset.skipped == [
        "train: 1 file, broken link: gone.png",
        "train: 1 file, no file extension: README",
        "train: 2 files, unsupported extension .csv: list.csv, more.csv",
        "train: 1 file, unsupported extension .txt: notes.txt",
    ]
    assert make_card(dataset)["left_out"] == dataset.skipped
    assert f"skipped in {folder}/train: 1 file, no file extension: README" in capsys.readouterr().out


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.fixture
def ghostscript(tmp_path_factory, monkeypatch) -> Path:
    """Put a `gs` on PATH, and return the file that it creates when it starts."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "gs").write_text(f"#!/bin/sh\ntouch {folder}/started\n")
    (folder / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # Pillow caches its search for gs
    return folder / "started"


def test_postscript_under_any_name_starts_no_program(folder, ghostscript):
    for name in ("a.png", "b.jpg", "c.eps", "d.ps"):
        (folder / "train" / "cat" / name).write_bytes(POSTSCRIPT)
    dataset = build(source(**folder_params(folder)), seed=0)
    assert not ghostscript.exists()
    assert dataset.skipped == [
        "train: 2 files, not readable: a.png, b.jpg",
        "train: 1 file, unsupported extension .eps: c.eps",
        "train: 1 file, unsupported extension .ps: d.ps",
    ]


@pytest.mark.parametrize("ending", ["gif", "jfif", "tiff", "webp", "bmp", "JPG", "jp2", "avif", "ppm", "tga"])
def test_common_formats_are_images(folder, ending):
    kind = {"jfif": "JPEG", "JPG": "JPEG", "jp2": "JPEG2000"}.get(ending, ending.upper())
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"Pillow writes no {kind} here")
    Image.fromarray(pixels(20, 20, 3)).save(folder / "train" / "cat" / f"new.{ending}", format=kind)
    dataset = build(source(**folder_params(folder)), seed=0)
    assert len(dataset.train.images) == 7 and not dataset.skipped


def test_links_are_followed_but_never_in_a_circle(folder, tmp_path):
    cats = folder / "train" / "cat"
    (cats / "again").symlink_to(cats, target_is_directory=True)
    (cats / "above").symlink_to(folder / "train", target_is_directory=True)
    write_images(folder / "elsewhere", 2, seed=50)
    (cats / "more").symlink_to(folder / "elsewhere", target_is_directory=True)
    (folder / "elsewhere" / "back").symlink_to(cats, target_is_directory=True)
    dataset = build(source(**folder_params(folder)), seed=0)
    by_cat = [image for image, label in pairs(dataset.train) if label == 0]
    assert len(set(by_cat)) == len(by_cat) == 3 + 2
    assert dataset.skipped == ["train: 3 files, link to a parent folder: above, again, back"]


def test_images_are_resized_by_the_shorter_side_and_keep_their_middle(tmp_path):
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = pixels(16, 16, 3)
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        Image.fromarray(wide).save(tmp_path / split / "wide.png")
    dataset = build(source(**folder_params(tmp_path)), seed=0)
    assert np.array_equal(dataset.train.images[0], pixels(16, 16, 3).transpose(2, 0, 1))


def test_any_colour_mode_becomes_rgb_and_photographs_stand_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for mode in ("L", "RGBA", "P", "1", "CMYK"):
            name = f"{mode}.tif" if mode == "CMYK" else f"{mode}.png"
            Image.new(mode, (16, 16)).save(tmp_path / split / name)
        lower_half_white = np.zeros((16, 16, 3), np.uint8)
        lower_half_white[8:] = 255
        Image.fromarray(lower_half_white).save(tmp_path / split / "z.jpg", exif=exif)
    assert len(build(source(**folder_params(tmp_path)), seed=0).train.images) == 6
    photograph = read_image(tmp_path / "train" / "z.jpg", 16)
    assert photograph[:, :, :6].mean() > 240 and photograph[:, :, 10:].mean() < 15


def test_images_without_class_folders_are_unlabelled(tmp_path):
    write_images(tmp_path / "train", 4)
    write_images(tmp_path / "test", 2)
    dataset = build(source(**folder_params(tmp_path)), seed=0)
    assert not dataset.labelled and dataset.train.labels.tolist() == [-1] * 4


def test_damaged_notes_of_the_camera_cost_no_image(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = folder / "train" / "cat" / "0.jpg"
    Image.fromarray(pixels(16, 16, 3)).save(path, exif=exif)
    whole = path.read_bytes()
    at = whole.index(b"Exif")
    for damage in (b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0XX\xff\xff"):
        path.write_bytes(whole[:at] + damage + whole[at + len(damage) :])
        assert read_image(path, 16).shape == (3, 16, 16)


def grey(levels: np.ndarray, path: Path) -> np.ndarray:
    """Save values as an image, and return one channel of the image that is read."""
    Image.fromarray(levels).save(path)
    image = read_image(path, 16)
    assert np.array_equal(image[0], image[1]) and np.array_equal(image[0], image[2])
    return image[0]


def test_deep_grey_images_keep_their_range(tmp_path):
    ramp = np.linspace(0, 1, 256).reshape(16, 16)
    expected = (ramp * 255).round().astype(np.uint8)
    for name, levels in {
        "16.png": (ramp * 65535).round().astype(np.uint16),
        "16.tif": (ramp * 65535).round().astype(np.uint16),
        "floats.tif": ramp.astype(np.float32),
    }.items():
        assert np.abs(grey(levels, tmp_path / name).astype(int) - expected).max() <= 1, name


def test_values_without_a_range_are_left_out_with_the_reason(folder):
    Image.fromarray((np.arange(256).reshape(16, 16) * 1000).astype(np.int32)).save(folder / "train/cat/a.tif")
    Image.fromarray(np.full((16, 16), 1.5, np.float32)).save(folder / "train/cat/b.tif")
    assert build(source(**folder_params(folder)), seed=0).skipped == [
        "train: 1 file, 32-bit integers are not supported; convert to 8 or 16 bits: a.tif",
        "train: 1 file, float values outside [0, 1] are not supported; convert to 8 or 16 bits: b.tif",
    ]


def test_what_is_transparent_lies_on_white_whatever_colour_hides_there(tmp_path):
    hidden = np.zeros((16, 16, 4), np.uint8)
    hidden[:8] = (200, 0, 0, 255)
    hidden[8:] = (0, 0, 255, 0)  # blue, and transparent
    Image.fromarray(hidden).save(tmp_path / "a.png")
    grey_alpha = Image.fromarray(np.full((16, 16), 7, np.uint8)).convert("LA")
    grey_alpha.putalpha(0)
    grey_alpha.save(tmp_path / "b.png")
    palette = Image.new("P", (16, 16), 0)
    palette.putpalette([9, 9, 9, 8, 8, 8])
    palette.save(tmp_path / "c.png", transparency=0)
    image = read_image(tmp_path / "a.png", 16)
    assert image[0, :7].min() >= 200 and image[2, :7].max() == 0 and image[:, 9:].min() == 255
    assert read_image(tmp_path / "b.png", 16).min() == read_image(tmp_path / "c.png", 16).min() == 255


def test_a_damaged_image_is_left_out_and_named(folder):
    path = folder / "test" / "dog" / "1.png"
    for content in (path.read_bytes()[:200], b"", b"\x89PNG\r\n\x1a\n", b"hello"):
        path.write_bytes(content)
        dataset = build(source(**folder_params(folder)), seed=0)
        assert len(dataset.test.images) == 5 and len(dataset.train.images) == 6
        [said] = dataset.skipped
        assert said == "test: 1 file, not readable: 1.png"


def test_a_split_without_a_readable_image_and_an_empty_class_are_refused(folder):
    for path in (folder / "test" / "dog").iterdir():
        path.write_bytes(b"hello")
    refused("test: class 'dog' has no image", **folder_params(folder))
    for path in (folder / "test" / "cat").iterdir():
        path.write_bytes(b"hello")
    refused("test: no readable image: 6 files, not readable", **folder_params(folder))


def test_names_come_out_as_they_went_in(tmp_path):
    names = ["$a_$", "NA", "null", "a<b>&c", "{x}", "[red]", "ä |", "日本"]
    for split in ("train", "test"):
        for place, name in enumerate(names):
            write_images(tmp_path / split / name, 1, seed=place)
    assert build(source(**folder_params(tmp_path)), seed=0).classes == sorted(names)


def test_two_spellings_of_an_accent_are_one_name(tmp_path):
    composed, taken_apart = "caf\u00e9", "cafe\u0301"
    write_images(tmp_path / "train" / composed, 2)
    write_images(tmp_path / "test" / taken_apart, 2)
    assert build(source(**folder_params(tmp_path)), seed=0).classes == [composed]
    write_images(tmp_path / "train" / taken_apart, 2)
    refused("two class folders 'café' differ only in Unicode normalisation", **folder_params(tmp_path))


def test_a_name_that_is_no_text_is_refused(folder):
    try:
        (folder / "train" / os.fsdecode(b"\xff")).mkdir()
    except OSError:
        pytest.skip("this file system has only names that are text")
    refused(r"train: the name of class folder b'\\xff' is not UTF-8", **folder_params(folder))


def test_folders_that_make_no_dataset_are_refused(folder):
    refused("no such folder", **folder_params(folder / "elsewhere"))
    (folder / "train" / "bird").mkdir()
    refused("class folder 'bird' is only in train", **folder_params(folder))
    (folder / "test" / "bird").mkdir()
    refused("class 'bird' has no image", **folder_params(folder))
    Image.new("RGB", (4, 4)).save(folder / "test" / "stray.png")
    refused(r"test: contains both class folders and images \(stray.png\)", **folder_params(folder))


def test_an_empty_folder_is_refused(tmp_path):
    write_images(tmp_path / "train", 1)
    (tmp_path / "test").mkdir()
    refused("test: no images", **folder_params(tmp_path))


# --- a user's own arrays ---


def arrays(**changes: np.ndarray | None) -> dict[str, np.ndarray]:
    whole = {
        "x_train": pixels(12, 8, 8, 3),
        "y_train": np.arange(12, dtype=np.uint8) % 3,
        "x_test": pixels(6, 8, 8, 3, seed=1),
        "y_test": np.arange(6, dtype=np.int32) % 3,
    } | changes
    return {name: array for name, array in whole.items() if array is not None}


def npz(folder: Path, **changes: np.ndarray | None) -> dict:
    np.savez(folder / "own.npz", **arrays(**changes))
    return {"name": "npz", "root": str(folder / "own.npz")}


def test_channels_may_come_last_or_first(tmp_path):
    last = build(source(**npz(tmp_path)), seed=0)
    first = build(source(**npz(tmp_path, x_train=arrays()["x_train"].transpose(0, 3, 1, 2))), seed=0)
    assert same_images(last.train, arrays()["x_train"].transpose(0, 3, 1, 2), arrays()["y_train"])
    assert np.array_equal(first.train.images, last.train.images)
    assert last.train.labels.dtype == np.int64 and last.classes == ["0", "1", "2"]


def test_arrays_without_labels_are_unlabelled(tmp_path):
    assert not build(source(**npz(tmp_path, y_train=None, y_test=None)), seed=0).labelled


def test_arrays_that_make_no_dataset_are_refused(tmp_path):
    for changes, says in [
        ({"x_train": None}, "'x_train' is missing"),
        ({"y_test": None}, "only one of y_train and y_test"),
        ({"x_train": np.zeros((12, 8, 8, 3))}, "x_train is float64"),
        ({"x_train": pixels(12, 8, 8)}, r"x_train has shape \(12, 8, 8\)"),
        ({"x_train": pixels(12, 8, 9, 3)}, r"x_train has shape \(12, 8, 9, 3\)"),
        ({"x_train": pixels(12, 3, 3, 3)}, r"x_train has shape \(12, 3, 3, 3\)"),
        ({"x_train": pixels(12, 9, 9, 3)}, "must be equal"),
        ({"y_train": np.zeros(12)}, "y_train is float64"),
        ({"y_train": np.zeros((12, 1), int)}, r"y_train has shape \(12, 1\)"),
        ({"y_train": np.zeros(11, int)}, r"y_train has shape \(11,\)"),
        ({"y_train": np.arange(12) % 3 - 1}, "label -1 of image 0 is out of range"),
        ({"y_train": np.arange(12) * 10**12}, "out of range"),
        ({"y_train": np.arange(12) % 3 * 2}, "class '1' has no image"),
        ({"y_test": np.arange(6) % 4}, "test: label 3 of image 3 is out of range"),
        ({"x_train": pixels(0, 8, 8, 3), "y_train": np.zeros(0, int)}, "0 images"),
        ({"y_train": np.array([{}] * 12, dtype=object)}, "plain arrays"),
    ]:
        params = npz(tmp_path, **changes)
        refused(says, **params)
        refused("own.npz", **params)


def test_a_damaged_archive_is_named(tmp_path):
    params = npz(tmp_path)
    path = Path(params["root"])
    whole = path.read_bytes()
    flipped = whole[:400] + bytes([whole[400] ^ 255]) + whole[401:]
    for content in (whole[:-50], b"", b"hello", flipped):
        path.write_bytes(content)
        refused(r"own\.npz", **params)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    refused(r"own\.npz", **params)
    path.unlink()
    refused(r"own\.npz", **params)


# --- the stage ---


def prepare(folder: Path, generative: dict, ssl: dict) -> CompletedProcess[str]:
    (folder / "params.yaml").write_text(yaml.safe_dump({"seed": 0, "data": {"generative": generative, "ssl": ssl}}))
    return run_script(ROOT / "stages" / "prepare.py", folder=folder)


def contents(folder: Path) -> dict[str, bytes]:
    names = ("data", "metrics", "plots")
    return {str(path): path.read_bytes() for name in names for path in (folder / name).rglob("*") if path.is_file()}


def test_prepare_writes_everything_or_nothing(tmp_path):
    small, other = MIDDLING | {"train": 20, "test": 10}, MIDDLING | {"train": 30, "test": 10}
    done = prepare(tmp_path, small, other)
    assert done.returncode == 0, done.stderr
    outputs = contents(tmp_path)
    names = {str(Path(path).relative_to(tmp_path)) for path in outputs}
    assert names >= {"metrics/data.json", "plots/data/generative.png", "plots/data/ssl.png", "data/ssl/card.json"}
    assert len(load(tmp_path / "data" / "generative").train.images) == 20
    assert len(load(tmp_path / "data" / "ssl").train.images) == 30

    # An error in one dataset leaves both unchanged.
    for pair in (({"name": "npz", "root": "missing.npz"}, other), (other, MIDDLING | {"neighbours": 2.0})):
        refusal = prepare(tmp_path, *pair)
        assert refusal.returncode == 2 and len(refusal.stderr.splitlines()) == 1, refusal.stderr
        assert contents(tmp_path) == outputs
