"""Extractors: equality with torch-fidelity, weights files of every kind, the classifier."""

import hashlib
import io
import logging
import pickle
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from threadpoolctl import threadpool_limits
from torch import nn

from functions.metrics import Moments, frechet, inception_score, kid, label, precision_recall
from models import EXTRACTORS
from models.features import Inception, open_inception, train_classifier
from models.features import classifier as classifier_file
from models.features import inception as inception_file
from models.features.small_net import new_network


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Two threads gain little here and lose much where other tests run beside these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):  # NumPy's own threads
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file in torch-fidelity's layout with random weights that keep the signal's size."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Blank(FeatureExtractorInceptionV3):
        def load_state_dict(self, *args, **kwargs):
            return None

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Blank("x", ["2048"], feature_extractor_weights_path=empty)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.normal_(network.fc.weight, std=0.05)
    path = tmp_path_factory.mktemp("inception") / "random.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def extractor(weights):
    return open_inception(weights, "cpu")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two folders of smooth random images, the first one darker."""
    rng, paths = np.random.default_rng(0), []
    for count, low, high in ((12, 0, 200), (14, 10, 210)):
        paths.append(tmp_path_factory.mktemp("images"))
        for i in range(count):
            pixels = rng.uniform(low, high, (4, 4, 3)).astype(np.uint8)
            Image.fromarray(pixels).resize((16, 16), Image.Resampling.BILINEAR).save(
                paths[-1] / f"{i:03}.png"
            )
    return paths


def _images(folder):
    arrays = [np.asarray(Image.open(path)) for path in sorted(Path(folder).iterdir())]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def theirs(weights, folders):
    """Figures of the two folders by torch-fidelity."""
    from torch_fidelity import calculate_metrics

    found = calculate_metrics(
        input1=str(folders[0]), input2=str(folders[1]), cuda=False, batch_size=64,
        isc=True, fid=True, kid=True, prc=True, feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(weights), kid_subsets=10, kid_subset_size=9,
        isc_splits=3, rng_seed=5, verbose=False, cache=False, save_cpu_ram=True,
    )  # fmt: skip
    names = ["frechet_inception_distance", "kernel_inception_distance_mean"]
    names += ["kernel_inception_distance_std", "inception_score_mean", "inception_score_std"]
    names += ["precision", "recall"]
    return [found[name] for name in names]


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 64])
def test_figures_equal_torch_fidelity(theirs, extractor, folders, batch):
    sets = []
    for folder in folders:
        made = [extractor(part) for part in _images(folder).split(batch)]
        moments = Moments()
        for part, _ in made:
            moments.add(part)
        sets.append((torch.cat([x for x, _ in made]), torch.cat([y for _, y in made]), moments))
    (fake, logits, m1), (real, _, m2) = sets
    ours = [
        frechet(m1.mean, m1.cov, m2.mean, m2.cov),
        *kid(fake, real, subsets=10, subset_size=9, seed=5),
        *inception_score(logits, splits=3, seed=5),
        *precision_recall(real, fake),
    ]
    assert ours == pytest.approx(theirs, rel=1e-6)
    assert ours[0] > 0.1 and ours[2] > 0 and ours[3] > 1 and 0 < ours[5] < 1  # no degenerate case


def test_grey_images_are_repeated_and_others_refused(extractor):
    grey = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8)
    (a, la), (b, lb) = extractor(grey), extractor(grey.repeat(1, 3, 1, 1))
    assert torch.equal(a, b) and torch.equal(la, lb)
    assert a.shape == (1, extractor.dim) and a.dtype == torch.float32 and not a.requires_grad
    for bad in (grey.float(), grey[0], grey.repeat(1, 4, 1, 1)):
        with pytest.raises(
            ValueError, match=r"^expected uint8 images \(n, 1 or 3, H, W\), got .*$"
        ):
            extractor(bad)


def test_name_and_hash_tell_the_published_weights_from_others(weights, extractor):
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert extractor.hash == digest
    assert label("FID", extractor, 50_000) == f"FD[inception:{digest[:8]}]"
    published = Inception(nn.Identity(), inception_file.OFFICIAL + "0" * 56, torch.device("cpu"))
    assert label("FID", published, 50_000) == "FID"


def test_loading_leaves_random_numbers_alone(weights):
    before = torch.get_rng_state()
    open_inception(weights, "cpu")
    assert torch.equal(torch.get_rng_state(), before)


class _Probe(nn.Module):
    def forward(self, x):
        self.seen = (
            torch.is_grad_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.backends.cuda.matmul.fp32_precision,
            torch.backends.cudnn.conv.fp32_precision,
        )
        return x.flatten(1).float(), x.flatten(1).float()


def test_extraction_is_exact_whatever_training_has_switched_on():
    probe, matmul = _Probe(), torch.backends.cuda.matmul
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "tf32"
        with torch.autocast("cpu", dtype=torch.bfloat16):
            Inception(probe, "0" * 64, torch.device("cpu"))(torch.zeros(1, 3, 2, 2).byte())
        assert probe.seen == (False, False, "ieee", "ieee")
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before


# Weights files


class _Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"fc.weight": x}])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_file_never_executes(tmp_path, wrap, zipped):
    marker, path = tmp_path / "executed", tmp_path / "weights.pth"
    torch.save(wrap(_Malicious(marker)), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"^[^\n]*weights\.pth: not a readable file[^\n]*$"):
        open_inception(path, "cpu")
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not weights at all\n" * 20,
        b"PK\x03\x04" + bytes(100),
        bytes(range(256)) * 4,
        pickle.dumps({"fc.weight": [1.0]}, protocol=2),
        [torch.zeros(3)],
        {"fc.weight": 1.0},
        nn.Linear(3, 4).state_dict(),
    ],
)
def test_a_wrong_file_is_named_in_one_line(tmp_path, content):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=r"^[^\n]*weights\.pth: not [^\n]*$"):
        open_inception(path, "cpu")


def test_a_truncated_or_missing_file_is_named(weights, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"^[^\n]*weights\.pth: not a readable file[^\n]*$"):
        open_inception(path, "cpu")
    for missing in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(FileNotFoundError, match=r"^[^\n]*: no such Inception weights file$"):
            open_inception(missing, "cpu")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty download folder and no network: a call of ``urlopen`` fails the test."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def refuse(*args, **kwargs):
        raise AssertionError("went to the network")

    monkeypatch.setattr(inception_file.urllib.request, "urlopen", refuse)
    return tmp_path / "checkpoints" / Path(inception_file.URL).name


def test_without_network_one_line_says_what_to_do(hub, monkeypatch):
    def fail(*args, **kwargs):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(inception_file.urllib.request, "urlopen", fail)
    with pytest.raises(OSError, match=r"^no Inception weights[^\n]*$") as caught:
        open_inception(None, "cpu")
    for part in (inception_file.URL, str(hub), "--inception_weights FILE", "--features classifier"):
        assert part in str(caught.value)


@pytest.mark.slow
def test_a_download_is_checked_and_kept_whole_or_not_at_all(hub, weights, monkeypatch):
    content = weights.read_bytes()
    monkeypatch.setattr(
        inception_file.urllib.request, "urlopen", lambda *a, **k: io.BytesIO(content)
    )
    with pytest.raises(
        OSError, match=rf"SHA-256 [0-9a-f]{{8}} instead of {inception_file.OFFICIAL}"
    ):
        open_inception(None, "cpu")
    assert list(hub.parent.iterdir()) == []
    monkeypatch.setattr(inception_file, "OFFICIAL", hashlib.sha256(content).hexdigest()[:8])
    assert open_inception(None, "cpu").name == "inception"
    assert [path.name for path in hub.parent.iterdir()] == [hub.name]


def test_the_downloaded_file_is_used_but_never_a_damaged_one(hub, weights, monkeypatch):
    hub.parent.mkdir()
    hub.symlink_to(weights)
    with pytest.raises(ValueError, match=r"^[^\n]*: damaged, SHA-256 starts with [^\n]*$"):
        open_inception(None, "cpu")
    monkeypatch.setattr(
        inception_file, "OFFICIAL", hashlib.sha256(weights.read_bytes()).hexdigest()[:8]
    )
    assert open_inception(None, "cpu").name == "inception"


# The classifier


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = np.round(data.images * 255 / 16).astype(np.uint8)
    return torch.from_numpy(pixels)[:, None], torch.from_numpy(data.target)


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory):
    cache = tmp_path_factory.mktemp("classifier") / "new" / "folder"
    before = torch.get_rng_state()
    with torch.inference_mode():  # the caller measures: no gradients around
        made = train_classifier(*digits, cache, "cpu")
    assert torch.equal(torch.get_rng_state(), before)
    return made, cache


@pytest.mark.slow
def test_the_classifier_reads_digits(digits, trained):
    made, _ = trained
    images, labels = digits
    assert made.accuracy >= 0.97
    vectors, logits = made(images[:200])
    assert vectors.shape == (200, made.dim) and vectors.dtype == torch.float32
    assert (logits.argmax(1) == labels[:200]).float().mean() >= 0.97
    singly = torch.cat([made(part)[0] for part in images[:20].split(1)])
    torch.testing.assert_close(singly, vectors[:20], rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"expected images \(1, 8, 8\), got \(1, 9, 8\)"):
        made(torch.zeros(1, 1, 9, 8, dtype=torch.uint8))


def test_its_distance_tells_digits_from_noisy_digits(digits, trained):
    made, _ = trained
    images, _ = digits
    noise = 40 * torch.randn(images[1::2].shape, generator=torch.Generator().manual_seed(0))
    noisy = (images[1::2] + noise).clamp(0, 255).byte()
    half, other, spoiled = (Moments().add(made(x)[0]) for x in (images[::2], images[1::2], noisy))
    apart = frechet(half.mean, half.cov, spoiled.mean, spoiled.cov)
    assert apart > 3 * frechet(half.mean, half.cov, other.mean, other.cov)


def test_the_classifier_is_read_from_its_cache(digits, trained, monkeypatch):
    made, cache = trained
    monkeypatch.setattr(classifier_file, "fit", None)  # would fail if called
    again = train_classifier(*digits, cache, "cpu")
    assert again.hash == made.hash and again.accuracy == made.accuracy
    assert torch.equal(again(digits[0][:9])[0], made(digits[0][:9])[0])


def _small(n=40):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 2
    noise = torch.randint(0, 100, (n, 3, 4, 4), generator=generator)
    return (noise + 100 * labels.view(-1, 1, 1, 1)).byte(), 7 - 3 * labels


@pytest.mark.slow
def test_training_is_a_function_of_data_and_seed(tmp_path):
    torch.manual_seed(1)
    first = train_classifier(*_small(), tmp_path / "a", "cpu", seed=3)
    torch.manual_seed(2)
    assert train_classifier(*_small(), tmp_path / "b", "cpu", seed=3).hash == first.hash
    assert first.accuracy == 1.0  # labels are any integers


def test_other_data_get_another_file_and_damage_is_named(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(classifier_file, "fit", lambda *args: 0.5)
    images, labels = _small()
    train_classifier(images, labels, tmp_path, "cpu")
    (first,) = tmp_path.iterdir()
    changed = images.clone()
    changed[0, 0, 0, 0] ^= 1
    for data in ((changed, labels, 0), (images, labels.flip(0), 0), (images, labels, 1)):
        train_classifier(*data[:2], tmp_path, "cpu", seed=data[2])
    second, *others = set(tmp_path.glob("classifier-*.pt")) - {first}
    assert len(others) == 2
    content = bytearray(first.read_bytes())
    content[len(content) // 2] ^= 1
    for damaged in (bytes(content), b"", second.read_bytes()):
        first.write_bytes(damaged)
        with caplog.at_level(logging.WARNING, logger="skip_step"):
            train_classifier(images, labels, tmp_path, "cpu")
            assert str(first) in caplog.text and "\n" not in caplog.messages[0]
            caplog.clear()
            train_classifier(images, labels, tmp_path, "cpu")
            assert caplog.text == ""


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        (_small()[0], torch.zeros(40).long(), "2 classes, got 40 of 1"),
        (*_small(10), "20 images"),
        (_small()[0], torch.zeros(39).long(), "expected 40 integer labels"),
        (_small()[0], torch.zeros(40), "expected 40 integer labels"),
        (_small()[0].float(), _small()[1], "expected uint8 images"),
    ],
)
def test_the_classifier_refuses(tmp_path, images, labels, says):
    with pytest.raises(ValueError, match=rf"^[^\n]*{says}[^\n]*$"):
        train_classifier(images, labels, tmp_path / "cache", "cpu")
    assert not (tmp_path / "cache").exists()


class _Data:
    """A data set as an extractor sees it."""

    name = "FOLDER"

    def __init__(self, images, labels):
        self._images, self.labels = images, labels

    def __len__(self):
        return len(self._images)

    def images(self, indices):
        return self._images[list(indices)]


def test_the_parts_open_what_the_functions_do(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(classifier_file, "fit", lambda *args: 0.5)
    data = _Data(*_small())
    made = EXTRACTORS["classifier"](data, tmp_path, "cpu")
    assert made.hash == train_classifier(*_small(), tmp_path, "cpu").hash
    opened = EXTRACTORS["inception"](data, tmp_path, "cpu", weights=str(weights))
    assert opened.hash == hashlib.sha256(weights.read_bytes()).hexdigest()


def test_the_classifier_needs_labels(tmp_path):
    data = _Data(_small()[0], None)
    says = "^--features classifier needs labels, and data set FOLDER has none; put each class.*$"
    with pytest.raises(ValueError, match=says):
        EXTRACTORS["classifier"](data, tmp_path, "cpu")


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 64, 64), (2, 256, 128)])
def test_the_network_fits_other_sizes(shape):
    network = new_network(shape, 5, 0).eval()
    vectors, logits = network(torch.zeros(2, *shape, dtype=torch.uint8))
    assert vectors.shape == (2, 128) and logits.shape == (2, 5)
    assert 4 <= network.blocks(network.stem(torch.zeros(1, *shape))).shape[-1] <= 7
