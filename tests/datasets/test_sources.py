import pickle
import struct

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms import functional as tvf

from datasets import get_dataset
from tests.images import chw, config, encoded, everything, noise, write_folder, write_zip

BEDROOM = {"category": "bedroom"}


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
    make = config(dataset="LSUN", path=tmp_path, options=BEDROOM, in_memory=in_memory)
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
    make = config(dataset="LSUN", path=tmp_path, options=BEDROOM, in_memory=False)
    train = get_dataset(make)[0]
    alone, helped = batches(train, 4, 0), batches(train, 4, 0, num_workers=2)
    for _ in range(5):
        assert torch.equal(next(alone)[0], next(helped)[0])
    helped.close()


def test_lsun_says_what_it_lacks(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="category null is not valid; it should be text"):
        get_dataset(config(dataset="LSUN", path=tmp_path, options={"category": None}))
    with pytest.raises(FileNotFoundError, match=r"unpack church_outdoor_train_lmdb\.zip"):
        get_dataset(config(dataset="LSUN", path=tmp_path, options={"category": "church_outdoor"}))
    (tmp_path / "bedroom_train_lmdb").mkdir()
    monkeypatch.setitem(__import__("sys").modules, "lmdb", None)
    with pytest.raises(RuntimeError, match="pip install lmdb"):
        get_dataset(config(dataset="LSUN", path=tmp_path, options=BEDROOM))


def test_a_failed_download_is_one_line(tmp_path, monkeypatch):
    def fail(self):
        raise RuntimeError("quota\nexceeded")

    monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", fail)
    with pytest.raises(RuntimeError, match=r"could not be downloaded \(quota exceeded\): put"):
        get_dataset(config(dataset="CIFAR10", download=True), root=tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RuntimeError, match="with one process first"):
        get_dataset(config(dataset="CIFAR10", download=True), root=tmp_path)
