import pytest

from datasets import SOURCES, check, get_dataset, inspect
from tests.images import config, encoded, noise, tree, write_folder, write_zip


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
    with pytest.raises(ValueError, match="is not a zip, or was cut off"):
        get_dataset(config(path=cut))


def test_unknown_data_set_names_the_nearest():
    with pytest.raises(
        ValueError, match=r"data\.dataset: CIFAR is unknown; it should be .*CIFAR10"
    ):
        get_dataset(config(dataset="CIFAR"))


@pytest.mark.parametrize("name", sorted(set(SOURCES) - {"DIGITS"}))
def test_a_missing_data_set_says_where_to_put_it(tmp_path, name, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("went to the network"))
    with pytest.raises(FileNotFoundError, match=str(tmp_path)) as caught:
        options = dict.fromkeys(SOURCES.parts[name].options, "bedroom")
        get_dataset(config(dataset=name, options=options), root=tmp_path)
    assert "\n" not in str(caught.value)
