import json
import pickle
import struct

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.transforms import functional as tvf

from datasets import SOURCES, check, get_dataset, inspect, memory
from datasets.pixels import decode, fit
from tests.images import config, encoded, noise, tree, write_folder, write_zip


def chw(pixels):
    return torch.from_numpy(np.atleast_3d(pixels).transpose(2, 0, 1).copy())


def everything(dataset):
    return dataset.images(range(len(dataset)))


# --- digits and the held-out fraction


def test_digits_are_all_there_scaled_to_uint8():
    train, test = get_dataset(config(dataset="digits", channels=1))
    bunch = load_digits()
    assert test is None
    assert train.shape == (1, 8, 8)
    assert train.classes == list("0123456789")
    assert np.array_equal(train.labels, bunch.target)
    pixels = everything(train)[:, 0].numpy()
    assert pixels.min() == 0
    assert pixels.max() == 255
    assert np.abs(pixels / 255 * 16 - bunch.images).max() < 0.04


@pytest.mark.parametrize("in_memory", [True, False])
def test_holdout_is_disjoint_complete_and_deterministic(in_memory):
    make = config(dataset="DIGITS", channels=1, holdout=0.1, in_memory=in_memory)
    train, test = get_dataset(make)
    again = get_dataset(make)
    assert (len(train), len(test)) == (1617, 180)
    assert [train.fingerprint(), test.fingerprint()] == [d.fingerprint() for d in again]
    whole = get_dataset(config(dataset="DIGITS", channels=1))[0]
    both = torch.cat([everything(train), everything(test)]).flatten(1).tolist()
    assert sorted(both) == sorted(everything(whole).flatten(1).tolist())
    assert torch.bincount(torch.cat([train.labels, test.labels])).tolist() == (
        torch.bincount(whole.labels).tolist()
    )


def test_holdout_leaves_a_sources_own_test_split_alone(tmp_path):
    write_folder(tmp_path, tree(["train/a.png", "train/b.png", "test/c.png"]))
    train, test = get_dataset(config(path=tmp_path, holdout=0.5))
    assert (len(train), len(test)) == (2, 1)


def test_holdout_of_nearly_everything_is_refused(tmp_path):
    write_folder(tmp_path, tree(["a.png"]))
    with pytest.raises(ValueError, match="leaves none to train on"):
        get_dataset(config(path=tmp_path, holdout=0.9))


# --- folders and zips


CLASSED = ["bee/2.png", "ant/10.png", "ant/9.png", "cow/deep/1.png", "bee/1.PNG"]
LISTED = ["ant/10.png", "ant/9.png", "bee/1.PNG", "bee/2.png", "cow/deep/1.png"]
HIDDEN = ["ant/._9.png", "__MACOSX/ant/9.png", ".cache/x.png", "ant/.DS_Store", "notes.txt"]


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("wrapper", ["", "data/"])
def test_folder_and_zip_give_the_same_images_in_sorted_order(tmp_path, in_memory, wrapper):
    files = {wrapper + name: contents for name, contents in tree(CLASSED).items()}
    junk = {wrapper + name: b"junk" for name in HIDDEN}
    folder = write_folder(tmp_path / "folder", {**files, **junk})
    zipped = write_zip(tmp_path / "data.zip", {**junk, **files})
    wanted = torch.stack([chw(noise(CLASSED.index(name))) for name in LISTED])
    for path in (folder, zipped):
        dataset, test = get_dataset(config(path=path, in_memory=in_memory))
        assert test is None
        assert dataset.in_memory is in_memory
        assert torch.equal(everything(dataset), wanted)
        assert dataset.classes == ["ant", "bee", "cow"]
        assert dataset.labels.dtype == torch.int64
        assert dataset.labels.tolist() == [0, 0, 1, 1, 2]


def test_images_without_sub_folders_have_no_labels(tmp_path):
    flat = write_folder(tmp_path / "flat", tree(["a.png", "b.png"]))
    one = write_zip(tmp_path / "one.zip", tree(["photos/a.png", "photos/b.png"]))
    for path in (flat, one):
        dataset = get_dataset(config(path=path))[0]
        assert len(dataset) == 2
        assert dataset.labels is None
        assert dataset.classes is None


def test_ffhqs_folders_of_a_thousand_are_not_classes(tmp_path):
    root = write_folder(tmp_path / "ffhq", tree(["00000/00000.png", "01000/01000.png"]))
    assert get_dataset(config(dataset="FFHQ", path=root))[0].labels is None
    assert get_dataset(config(dataset="FFHQ"), root=tmp_path)[0].labels is None


def test_a_name_that_stands_twice_in_a_zip_counts_once(tmp_path):
    path = write_zip(tmp_path / "z.zip", {"a.png": encoded(noise(0))})
    import zipfile

    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a.png", encoded(noise(1)))
    assert torch.equal(everything(get_dataset(config(path=path))[0]), chw(noise(1))[None])


def test_train_and_test_folders_are_splits_with_the_same_classes(tmp_path):
    names = ["train/ant/1.png", "train/bee/1.png", "test/bee/1.png", "val/ant/1.png"]
    path = write_zip(tmp_path / "z.zip", {f"set/{n}": c for n, c in tree(names).items()})
    train, test = get_dataset(config(path=path))
    assert train.classes == test.classes == ["ant", "bee"]
    assert train.labels.tolist() == [0, 1]
    assert test.labels.tolist() == [1]
    assert torch.equal(everything(test), chw(noise(2))[None])


def test_test_path_is_read_with_the_training_classes(tmp_path):
    train_path = write_folder(tmp_path / "train", tree(["ant/1.png", "bee/1.png"]))
    right = write_folder(tmp_path / "right", tree(["bee/7.png"]))
    wrong = write_folder(tmp_path / "wrong", tree(["cow/7.png"]))
    _, test = get_dataset(config(path=train_path, test_path=right))
    assert test.labels.tolist() == [1]
    with pytest.raises(ValueError, match=r"classes \['cow'\] are not among"):
        get_dataset(config(path=train_path, test_path=wrong))


@pytest.mark.parametrize("zipped", [True, False])
def test_dataset_json_gives_the_labels(tmp_path, zipped):
    names = ["00000/img0.png", "00000/img1.png", "00001/img2.png"]
    listing = {"labels": [[name, label] for name, label in zip(names, (6, 0, 6), strict=True)]}
    files = {**tree(names), "dataset.json": json.dumps(listing)}
    files = {n: c if isinstance(c, bytes) else c.encode() for n, c in files.items()}
    path = (write_zip if zipped else write_folder)(tmp_path / "data.zip", files)
    dataset = get_dataset(config(path=path))[0]
    assert dataset.labels.tolist() == [6, 0, 6]
    assert dataset.classes == [str(i) for i in range(7)]


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        ('{"labels": [["a.png", 1]]}', r"b\.png is not listed"),
        ('{"labels": [["a.png", 1], ["b.png", 0.5]]}', r"b\.png has 0\.5, not a class number"),
        ('{"label": []}', "expected"),
        ("{", "expected"),
    ],
)
def test_a_wrong_dataset_json_is_refused(tmp_path, listing, message):
    files = {**tree(["a.png", "b.png"]), "dataset.json": listing.encode()}
    with pytest.raises(ValueError, match=message):
        get_dataset(config(path=write_folder(tmp_path, files)))


def test_dataset_json_without_labels_means_none(tmp_path):
    files = {**tree(["a/a.png", "b/b.png"]), "dataset.json": b'{"labels": null}'}
    assert get_dataset(config(path=write_folder(tmp_path, files)))[0].labels is None


def test_links_are_followed_and_loops_end(tmp_path):
    real = write_folder(tmp_path / "real", tree(["ant/1.png", "bee/1.png"]))
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "ant").symlink_to(real / "ant")
    (linked / "bee").symlink_to(real / "bee")
    (linked / "bee" / "again").symlink_to(linked)
    assert len(get_dataset(config(path=linked))[0]) == 2


# --- modes, sizes, channels


def test_alpha_is_laid_on_white_or_kept():
    pixels = noise(0, depth=4)
    pixels[0, 0] = (10, 20, 30, 0)
    pixels[0, 1] = (10, 20, 30, 255)
    image = decode(encoded(pixels), "a.png")
    rgb = fit(image, 8, 3)
    assert rgb[:, 0, 0].tolist() == [255, 255, 255]
    assert rgb[:, 0, 1].tolist() == [10, 20, 30]
    assert fit(image, 8, 1)[0, 0, 0] == 255
    assert np.array_equal(fit(image, 8, 4), pixels.transpose(2, 0, 1))


def test_a_transparent_palette_is_laid_on_white():
    image = Image.new("P", (8, 8), 0)
    image.putpalette([200, 0, 0, 0, 0, 255])
    image.putpixel((0, 0), 1)
    image.info["transparency"] = 0
    rgb = fit(image, 8, 3)
    assert rgb[:, 4, 4].tolist() == [255, 255, 255]
    assert rgb[:, 0, 0].tolist() == [0, 0, 255]


def test_grey_and_colour_become_each_other():
    grey = noise(1, depth=1)
    assert np.array_equal(fit(decode(encoded(grey), "g.png"), 8, 3), np.stack([grey] * 3))
    rgb = noise(2)
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    assert np.abs(fit(decode(encoded(rgb), "c.png"), 8, 1)[0] - luma).max() <= 1


def test_sixteen_bit_grey_is_scaled_not_clipped():
    levels = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    got = fit(decode(encoded(levels), "deep.png"), 8, 1)[0]
    assert np.array_equal(got, np.rint(levels / 257).astype(np.uint8))


def test_two_level_and_cmyk_images_are_read():
    two = Image.fromarray(noise(3, depth=1) > 127)
    assert set(np.unique(fit(two, 8, 3))) == {0, 255}
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert fit(cmyk, 8, 3)[:, 0, 0].tolist() == [255, 0, 0]


def test_arrays_of_any_channel_count(tmp_path):
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", noise(i, depth=5))
    dataset = get_dataset(config(path=tmp_path, channels=5))[0]
    assert torch.equal(everything(dataset)[2], chw(noise(2, depth=5)))
    shrunk = get_dataset(config(path=tmp_path, channels=5, image_size=4))[0]
    assert shrunk.shape == (5, 4, 4)
    with pytest.raises(OSError, match="array of 5 channels cannot give 3"):
        get_dataset(config(path=tmp_path, channels=3))


def test_an_image_cannot_give_five_channels(tmp_path):
    write_folder(tmp_path, tree(["a.png"]))
    with pytest.raises(OSError, match="mode RGB cannot give 5 channels"):
        get_dataset(config(path=tmp_path, channels=5))


@pytest.mark.parametrize("shape", [(20, 13), (13, 20), (9, 9), (5, 7), (8, 8), (31, 8)])
def test_geometry_is_torchvisions_resize_and_centre_crop(shape):
    pixels = noise(4, *shape)
    wanted = tvf.center_crop(tvf.resize(Image.fromarray(pixels), 8), 8)
    assert np.array_equal(fit(pixels, 8, 3), np.asarray(wanted).transpose(2, 0, 1))


def test_a_camera_s_turned_picture_is_turned_back():
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    pixels = noise(5)
    turned = decode(encoded(pixels, exif=exif), "t.png")
    assert np.array_equal(fit(turned, 8, 3), pixels[::-1, ::-1].transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "WEBP", "JPEG"])
def test_every_format_is_read(tmp_path, kind):
    ending = {"TIFF": "tif", "JPEG": "jpeg"}.get(kind, kind.lower())
    flat = np.full((8, 8, 3), (40, 120, 200), dtype=np.uint8)
    options = {"lossless": True} if kind == "WEBP" else {}
    write_folder(tmp_path, {f"a.{ending}": encoded(flat, kind, **options)})
    pixels = everything(get_dataset(config(path=tmp_path))[0])[0]
    assert (pixels.int() - chw(flat).int()).abs().max() <= (3 if kind == "JPEG" else 0)


# --- bad files, missing data


def damaged(names):
    files = tree(names, height=32, width=32)
    files[names[1]] = files[names[1]][:100]
    files[names[3]] = b""
    files[names[5]] = b"<html>quota</html>"
    return files


NAMES = [f"{i}.png" for i in range(9)]


@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_all_bad_files_are_counted_and_named(tmp_path, write):
    path = write(tmp_path / "data", damaged(NAMES))
    with pytest.raises(OSError, match=r"3 of 9 images cannot be read: .*1\.png .*3\.png .*5\.png"):
        get_dataset(config(path=path))


def test_a_flipped_byte_in_a_zip_is_noticed(tmp_path):
    path = write_zip(tmp_path / "z.zip", tree(["a.png"]))
    contents = bytearray(path.read_bytes())
    contents[80] ^= 1
    path.write_bytes(contents)
    with pytest.raises(OSError, match=r"1 of 1 images cannot be read: .*a\.png \(Bad CRC-32"):
        get_dataset(config(path=path))


def test_check_counts_classes_sizes_and_names_bad_files(tmp_path):
    files = tree(["train/ant/1.png", "train/ant/2.png", "train/bee/1.png"])
    files["train/bee/2.png"] = files["train/bee/1.png"][:50]
    files["test/bee/3.jpg"] = encoded(noise(0, 12, 10, depth=1), "JPEG")
    write_folder(tmp_path, files)
    report = check(config(path=tmp_path), tmp_path)
    lines = report.splitlines()
    assert lines[:4] == ["train: 4 images", "  class ant: 2", "  class bee: 2", "  8x8 RGB: 3"]
    assert lines[4:8] == ["test: 1 images", "  class ant: 0", "  class bee: 1", "  10x12 L: 1"]
    assert lines[8].startswith(f"  bad: {tmp_path}/train/bee/2.png (")
    assert lines[9:] == ["1 unreadable image"]
    assert len(inspect(config(path=tmp_path), tmp_path).bad) == 1


def test_check_of_sound_data():
    report = inspect(config(dataset="DIGITS", channels=1))
    assert not report.bad
    assert "8x8 uint8 x 1: 1,797" in str(report)
    assert str(report).endswith("all images can be read")


def test_nothing_there_says_what_is_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere not found: expected a folder or a zip"):
        get_dataset(config(path=tmp_path / "nowhere"))
    write_folder(tmp_path, {"notes.txt": b"x"})
    with pytest.raises(FileNotFoundError, match=r"no images in .* files ending in \.png"):
        get_dataset(config(path=tmp_path))


def test_a_file_that_is_no_zip_is_refused(tmp_path):
    page, cut = tmp_path / "page.zip", tmp_path / "cut.zip"
    page.write_bytes(b"<!DOCTYPE html><html>Quota exceeded</html>")
    cut.write_bytes(write_zip(tmp_path / "z.zip", tree(NAMES)).read_bytes()[:500])
    with pytest.raises(ValueError, match="a web page saved under that name"):
        get_dataset(config(path=page))
    with pytest.raises(ValueError, match="is no zip, or was cut off"):
        get_dataset(config(path=cut))


def test_unknown_data_set_names_the_nearest():
    with pytest.raises(ValueError, match="CIFAR is unknown, nearest CIFAR10"):
        get_dataset(config(dataset="CIFAR"))


@pytest.mark.parametrize("name", sorted(set(SOURCES) - {"DIGITS"}))
def test_a_missing_data_set_says_where_to_put_it(tmp_path, name, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("went to the network"))
    with pytest.raises(FileNotFoundError, match=str(tmp_path)) as caught:
        get_dataset(config(dataset=name, category="bedroom"), root=tmp_path)
    assert "\n" not in str(caught.value)


# --- named data sets


def pickled_batch(path, count, seed):
    pixels = noise(seed, count, 3072, depth=1)
    path.write_bytes(pickle.dumps({"data": pixels, "labels": [i % 10 for i in range(count)]}))
    return pixels.reshape(count, 3, 32, 32)


def test_cifar10(tmp_path, monkeypatch):
    base = tmp_path / "cifar10" / "cifar-10-batches-py"
    base.mkdir(parents=True)
    parts = [pickled_batch(base / f"data_batch_{i}", 2, i) for i in range(1, 6)]
    test_pixels = pickled_batch(base / "test_batch", 3, 9)
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    with pytest.raises(FileNotFoundError, match="damaged"):  # the checksums are not CIFAR-10's
        get_dataset(config(dataset="CIFAR10", image_size=32), root=tmp_path)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    train, test = get_dataset(config(dataset="CIFAR10", image_size=32), root=tmp_path)
    assert np.array_equal(everything(train), np.concatenate(parts))
    assert np.array_equal(everything(test), test_pixels)
    assert train.labels.tolist() == [0, 1] * 5
    assert train.classes == list("abcdefghij")


def idx(path, array):
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes())


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_mnist(tmp_path, name):
    raw = tmp_path / name.lower() / name / "raw"
    raw.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (4, 28, 28), dtype=np.uint8)
    for split in ("train", "t10k"):
        idx(raw / f"{split}-images-idx3-ubyte", images)
        idx(raw / f"{split}-labels-idx1-ubyte", np.arange(4, dtype=np.uint8))
    train, test = get_dataset(config(dataset=name, image_size=28, channels=1), root=tmp_path)
    assert np.array_equal(everything(train)[:, 0], images)
    assert test.labels.tolist() == [0, 1, 2, 3]
    assert len(train.classes) == 10
    (raw / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03")
    with pytest.raises(OSError, match="is damaged"):
        get_dataset(config(dataset=name, image_size=28, channels=1), root=tmp_path)


def test_flowers(tmp_path):
    from scipy.io import savemat

    base = tmp_path / "flowers" / "flowers-102"
    write_folder(base, {f"jpg/image_{i:05d}.jpg": encoded(noise(i), "JPEG") for i in range(1, 7)})
    savemat(base / "setid.mat", {"trnid": [[2, 5]], "valid": [[1]], "tstid": [[3, 4, 6]]})
    savemat(base / "imagelabels.mat", {"labels": [[77, 102, 3, 4, 1, 6]]})
    train, test = get_dataset(config(dataset="FLOWERS"), root=tmp_path)
    assert train.labels.tolist() == [101, 0, 76]
    assert test.labels.tolist() == [2, 3, 5]
    assert len(train.classes) == 102
    assert everything(train).shape == (3, 3, 8, 8)
    (base / "jpg" / "image_00005.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="lacks 1 of 3"):
        get_dataset(config(dataset="FLOWERS"), root=tmp_path)


PARTITION = {"000001": 0, "000002": 0, "000003": 1, "000004": 2}


def celeba_tree(root, zipped=False, csv=False):
    pixels = {f"{name}.png": noise(i, 218, 178) for i, name in enumerate(PARTITION)}
    files = {f"img_align_celeba/{name}": encoded(image) for name, image in pixels.items()}
    root.mkdir(parents=True)
    if zipped:
        write_zip(root / "img_align_celeba.zip", files)
    else:
        write_folder(root, files)
    rows = [f"{name}.png{',' if csv else ' '}{part}" for name, part in PARTITION.items()]
    listing = root / f"list_eval_partition.{'csv' if csv else 'txt'}"
    listing.write_text("\n".join(["image_id,partition"] * csv + rows) + "\n")
    return list(pixels.values())


@pytest.mark.parametrize(("zipped", "csv"), [(False, False), (True, False), (False, True)])
def test_celeba_is_the_exact_crop(tmp_path, zipped, csv):
    pixels = celeba_tree(tmp_path / "celeba" / "celeba", zipped, csv)
    train, test = get_dataset(config(dataset="CELEBA", image_size=128), root=tmp_path)
    wanted = torch.stack([chw(image[57:185, 25:153]) for image in pixels])
    assert torch.equal(everything(train), wanted[:2])
    assert torch.equal(everything(test), wanted[3:])
    small = get_dataset(config(dataset="CELEBA", image_size=64), root=tmp_path)[0]
    right = tvf.resize(tvf.crop(Image.fromarray(pixels[0]), 57, 25, 128, 128), 64)
    assert torch.equal(everything(small)[0], chw(np.asarray(right)))


def test_celebas_gaps_are_named(tmp_path):
    celeba_tree(tmp_path / "celeba")
    (tmp_path / "celeba" / "img_align_celeba" / "000002.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks 1 of 2 .*000002\.png first"):
        get_dataset(config(dataset="CELEBA"), root=tmp_path)


def test_celebas_quota_page_is_recognised(tmp_path):
    celeba_tree(tmp_path / "celeba", zipped=True)
    (tmp_path / "celeba" / "img_align_celeba.zip").write_text("<html>Quota exceeded</html>")
    with pytest.raises(ValueError, match="a web page saved under that name"):
        get_dataset(config(dataset="CELEBA"), root=tmp_path)


def lsun_database(path, seeds):
    lmdb = pytest.importorskip("lmdb", reason="the optional package lmdb is not installed")
    with lmdb.open(str(path), map_size=1 << 20) as env, env.begin(write=True) as transaction:
        for seed in seeds:
            key = f"{seed:040x}".encode()
            transaction.put(key, encoded(noise(seed, 10, 8), "WEBP", lossless=True))


@pytest.mark.parametrize("in_memory", [True, False])
def test_lsun(tmp_path, in_memory):
    lsun_database(tmp_path / "bedroom_train_lmdb", [3, 1, 2])
    make = config(dataset="LSUN", path=tmp_path, category="bedroom", in_memory=in_memory)
    train, test = get_dataset(make)
    assert test is None
    wanted = torch.stack([chw(noise(seed, 10, 8)[1:9]) for seed in (1, 2, 3)])
    assert torch.equal(everything(train), wanted)
    assert torch.equal(everything(pickle.loads(pickle.dumps(train))), wanted)  # noqa: S301
    lsun_database(tmp_path / "bedroom_val_lmdb", [7])
    train, test = get_dataset(make)
    assert len(test) == 1
    assert train.fingerprint() != test.fingerprint()


def test_lsun_in_forked_workers(tmp_path):
    from datasets.loader import batches

    lsun_database(tmp_path / "bedroom_train_lmdb", range(12))
    make = config(dataset="LSUN", path=tmp_path, category="bedroom", in_memory=False)
    train = get_dataset(make)[0]
    alone, helped = batches(train, 4, 0), batches(train, 4, 0, num_workers=2)
    for _ in range(5):
        assert torch.equal(next(alone)[0], next(helped)[0])
    helped.close()


def test_lsun_says_what_it_lacks(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"data\.category: LSUN needs one"):
        get_dataset(config(dataset="LSUN", path=tmp_path))
    with pytest.raises(FileNotFoundError, match=r"unpack church_outdoor_train_lmdb\.zip"):
        get_dataset(config(dataset="LSUN", path=tmp_path, category="church_outdoor"))
    (tmp_path / "bedroom_train_lmdb").mkdir()
    monkeypatch.setitem(__import__("sys").modules, "lmdb", None)
    with pytest.raises(RuntimeError, match="pip install lmdb"):
        get_dataset(config(dataset="LSUN", path=tmp_path, category="bedroom"))


def test_a_failed_download_is_one_line(tmp_path, monkeypatch):
    def fail(self):
        raise RuntimeError("quota\nexceeded")

    monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", fail)
    with pytest.raises(RuntimeError, match=r"could not be downloaded \(quota exceeded\): put"):
        get_dataset(config(dataset="CIFAR10", download=True), root=tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RuntimeError, match="with one process first"):
        get_dataset(config(dataset="CIFAR10", download=True), root=tmp_path)


# --- memory and fingerprints


def test_auto_keeps_in_memory_what_fits(tmp_path, monkeypatch):
    write_folder(tmp_path, tree(["a.png", "b.png"]))  # 2 x 3 x 8 x 8 = 384 bytes
    monkeypatch.setattr(memory, "available_memory", lambda: 4 * 384)
    assert get_dataset(config(path=tmp_path, in_memory="auto"))[0].in_memory
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert not get_dataset(config(path=tmp_path, in_memory="auto"))[0].in_memory


def test_available_memory_is_plausible():
    assert 1 << 20 < memory.available_memory() < 1 << 50


@pytest.mark.parametrize("in_memory", [True, False])
def test_fingerprints_tell_data_apart(tmp_path, in_memory):
    files = tree(["a/1.png", "b/2.png"])

    def of(name, contents, **options):
        path = write_folder(tmp_path / name, contents)
        return get_dataset(config(path=path, in_memory=in_memory, **options))[0].fingerprint()

    first = of("one", files)
    assert len(first) == 64
    assert of("two", files) == first
    changed = {**files, "a/1.png": encoded(noise(99))}
    others = [of("three", changed), of("one", files, image_size=4), of("one", files, channels=1)]
    assert len({first, *others}) == 4
    relabelled = {"a/1.png": files["a/1.png"], "a/2.png": files["b/2.png"]}
    assert of("four", relabelled) != first
