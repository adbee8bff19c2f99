import json

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from datasets import get_dataset, memory
from tests.images import chw, config, encoded, everything, noise, tree, write_folder, write_zip

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
