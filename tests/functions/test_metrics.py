"""Metrics against brute force, closed forms, NumPy and SciPy. (torch-fidelity: test_features.py)"""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.linalg
import scipy.special
import scipy.stats
import torch

from functions.metrics import (
    METRICS,
    Moments,
    Seen,
    frechet,
    inception_score,
    kid,
    kid_subset_size,
    label,
    precision_recall,
    split_distance,
)


def _random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _covariance(d, rank=None, seed=0):
    factor = _random(d, rank or 2 * d, seed=seed)
    return factor @ factor.T / factor.shape[1]


def _close(ours, theirs, rtol=1e-12):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * np.abs(theirs).max())


# Moments


@pytest.mark.parametrize("parts", [[60], [1] * 60, [7, 0, 1, 30, 22]])
def test_moments_keep_their_digits_far_from_the_origin(parts):
    scale = 10.0 ** torch.arange(-4, 4, dtype=torch.float64)
    x = 1e6 + _random(60, 8) * scale  # E[x^2] - E[x]^2 would lose all of the first column
    moments = Moments()
    for part in x.split(parts):
        moments.add(part)
    assert moments.n == 60
    _close(moments.mean, x.numpy().mean(0), 1e-14)
    deviation = np.sqrt(np.diagonal(np.cov(x.numpy(), rowvar=False)))
    correlation = moments.cov.numpy() / np.outer(deviation, deviation)
    _close(correlation, np.corrcoef(x.numpy(), rowvar=False), 1e-6)  # 1e6 / 1e-4 eats ten digits


def test_moments_merge_and_all_reduce_equal_one_pass():
    x = 300 + _random(50, 6).float()
    whole = Moments().add(x)
    ranks = [Moments().add(x[:20]), Moments(), Moments().add(x[20:21]), Moments().add(x[21:])]
    merged = Moments()
    for rank in ranks:
        merged.merge(rank)
    shift = ranks[0].mean
    reduced = [sum(part) for part in zip(*(rank.sums(shift) for rank in ranks), strict=True)]
    for other in (merged, Moments.from_sums(*reduced, shift)):
        assert other.n == 50
        _close(other.mean, whole.mean)
        _close(other.cov, whole.cov)
    assert [rank.n for rank in ranks] == [20, 0, 1, 29]  # untouched


def test_merging_does_not_share_memory():
    a, b = Moments().add(_random(5, 3)), Moments()
    b.merge(a).add(_random(4, 3, seed=1))
    _close(a.cov, np.cov(_random(5, 3).numpy(), rowvar=False))


@pytest.mark.parametrize(
    "action",
    [
        lambda: Moments().mean,
        lambda: Moments().add(torch.zeros(1, 3)).cov,
        lambda: Moments().add(torch.zeros(4)),
        lambda: Moments().add(torch.zeros(4, 3, dtype=torch.uint8)),
        lambda: Moments().add(torch.tensor([[1.0, math.nan]])),
        lambda: Moments().add(torch.zeros(4, 3)).add(torch.zeros(4, 2)),
    ],
)
def test_moments_refuse(action):
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        action()


# Frechet distance


def test_frechet_equals_sqrtm():
    mu1, mu2 = _random(24, seed=1), _random(24, seed=2)
    s1, s2 = _covariance(24, seed=3), _covariance(24, seed=4)
    root = scipy.linalg.sqrtm((s1 @ s2).numpy())
    exact = float((mu1 - mu2).square().sum() + (s1 + s2).trace()) - 2 * np.trace(root).real
    assert frechet(mu1, s1, mu2, s2) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("ranks", [(9, 12), (24, 3), (1, 1)])
def test_frechet_of_rank_deficient_covariances(ranks):
    a, b = _random(24, ranks[0], seed=3), _random(24, ranks[1], seed=4)
    cross = torch.linalg.svdvals(a.T @ b).sum()  # Tr (A A^T B B^T)^(1/2), no rounding error squared
    exact = float(a.square().sum() + b.square().sum() - 2 * cross)
    mu = _random(24)
    assert frechet(mu, a @ a.T, mu, b @ b.T) == pytest.approx(exact, rel=1e-6)


def test_frechet_of_commuting_gaussians_is_known():
    basis, _ = torch.linalg.qr(_random(10, 10))
    a, b = _random(10, seed=1).square(), _random(10, seed=2).square()
    mu1, mu2 = _random(10, seed=3), _random(10, seed=4)
    known = float((mu1 - mu2).square().sum() + (a.sqrt() - b.sqrt()).square().sum())
    covs = [basis @ torch.diag(v) @ basis.T for v in (a, b)]
    assert frechet(mu1, covs[0], mu2, covs[1]) == pytest.approx(known, rel=1e-10)


def test_frechet_of_equal_statistics_is_zero_and_never_below():
    for rank in (3, 40):
        mu, cov = _random(20), _covariance(20, rank)
        assert 0 <= frechet(mu, cov, mu, cov) < 1e-5
    mu, zero = _random(20), torch.zeros(20, 20)
    assert frechet(mu, zero, mu + 2, zero) == pytest.approx(80)


@pytest.mark.parametrize(
    ("mu", "cov", "says"),
    [
        (torch.zeros(3), torch.eye(4), "square covariance"),
        (torch.zeros(4), torch.eye(4), "differ in size"),
        (torch.tensor([0.0, 0.0, math.nan]), torch.eye(3), "not finite"),
        (torch.zeros(3), torch.full((3, 3), math.inf), "not finite"),
        (torch.zeros(3), -torch.eye(3), "negative variance"),
        (torch.zeros(3), torch.tensor([[1.0, 1, 0], [0, 1, 0], [0, 0, 1]]), "not symmetric"),
    ],
)
def test_frechet_refuses(mu, cov, says):
    with pytest.raises(ValueError, match=rf"^[^\n]*{says}[^\n]*$"):
        frechet(mu, cov, torch.zeros(3), torch.eye(3))


def test_split_distance_is_small_seeded_and_needs_four():
    x = _random(400, 5)
    assert split_distance(x, seed=1) == split_distance(x, seed=1) != split_distance(x, seed=2)
    assert 0 < split_distance(x) < 0.2
    with pytest.raises(ValueError, match="at least 4"):
        split_distance(x[:3])


# KID


def test_kid_equals_the_sum_over_pairs():
    x, y = _random(7, 3), 0.5 + _random(7, 3, seed=1)

    def kernel(a, b):
        return (float(a @ b) / 3 + 1) ** 3

    pairs = [(i, j) for i in range(7) for j in range(7)]
    within = sum(kernel(s[i], s[j]) for s in (x, y) for i, j in pairs if i != j) / 42
    across = sum(kernel(x[i], y[j]) for i, j in pairs) / 49
    mean, deviation = kid(x, y, subsets=4)
    assert mean == pytest.approx(within - 2 * across, rel=1e-12)
    assert deviation == pytest.approx(0, abs=1e-12)  # every subset is the whole set


def test_kid_uses_what_there_is_and_says_so():
    assert kid_subset_size(50, 30) == 30 and kid_subset_size(5000, 3000) == 1000
    x, y = _random(30, 4), _random(50, 4, seed=1)
    assert kid(x, y, 5, 1000, seed=3) == kid(x, y, 5, 30, seed=3) != kid(x, y, 5, 30, seed=4)


@pytest.mark.parametrize("options", [{"subsets": 0}, {"subset_size": 1}])
def test_kid_refuses(options):
    with pytest.raises(ValueError, match="at least"):
        kid(_random(9, 2), _random(9, 2), **options)
    with pytest.raises(ValueError, match="differ in size"):
        kid(_random(9, 2), _random(9, 3))


# Inception score


def test_inception_score_equals_its_definition():
    logits = 3 * _random(23, 4)
    scores = []
    for part in np.array_split(np.arange(23), 1):
        p = scipy.special.softmax(logits[part].numpy(), axis=1)
        scores.append(np.exp(np.mean([scipy.stats.entropy(row, p.mean(0)) for row in p])))
    mean, deviation = inception_score(logits, splits=1, seed=None)
    assert (mean, deviation) == (pytest.approx(scores[0], rel=1e-12), 0.0)


def test_inception_score_limits_and_parts():
    one_hot = 2000 * torch.eye(5).repeat(4, 1)  # other classes underflow to zero
    assert inception_score(one_hot, splits=1)[0] == pytest.approx(5)
    assert inception_score(one_hot[:4], splits=1)[0] == pytest.approx(4)  # a class never seen
    assert inception_score(torch.zeros(20, 5))[0] == pytest.approx(1)
    parts = [inception_score(one_hot[a:b], 1, None)[0] for a, b in ((0, 6), (6, 13), (13, 20))]
    mean, deviation = inception_score(one_hot, splits=3, seed=None)
    assert (mean, deviation) == pytest.approx((np.mean(parts), np.std(parts)))
    with pytest.raises(ValueError, match="1 to 20 splits for 20 samples, got 21"):
        inception_score(one_hot, splits=21)


# Precision and recall


@pytest.mark.parametrize("batch", [1, 5, 10_000])
def test_precision_recall_equals_the_definition(batch):
    real, fake = _random(17, 2), 0.8 + 0.7 * _random(13, 2, seed=1)

    def covered(points, centres):
        count = 0
        for p in points:
            for i, c in enumerate(centres):
                others = sorted(math.dist(c, q) for j, q in enumerate(centres) if j != i)
                if math.dist(p, c) <= others[2]:
                    count += 1
                    break
        return count / len(points)

    real_list, fake_list = real.tolist(), fake.tolist()
    known = covered(fake_list, real_list), covered(real_list, fake_list)
    assert min(known) > 0 and known[0] != known[1]
    assert precision_recall(real, fake, batch=batch) == pytest.approx(known)


def test_precision_recall_tells_its_sides_apart():
    real = torch.cat([_random(40, 2), 100 + _random(40, 2, seed=1)])
    fake = real[:40] + 0.01 * _random(40, 2, seed=2)  # one of two modes, drawn well
    precision, recall = precision_recall(real, fake)
    assert precision > 0.95 and 0.4 < recall <= 0.5
    with pytest.raises(ValueError, match="fake features: at least 4 samples needed, got 3"):
        precision_recall(real, fake[:3])


# Parts


def _seen(logits=None):
    real, fake = _random(60, 4), 0.3 + _random(40, 4, seed=1)
    known = Moments().add(real)
    reference = SimpleNamespace(n=60, mean=known.mean, cov=known.cov, features=real)
    return Seen(fake, logits, reference), real, fake


def test_metrics_as_parts_are_the_plain_functions():
    logits = _random(40, 5, seed=2)
    seen, real, fake = _seen(logits)
    a, b = Moments().add(fake), Moments().add(real)
    assert METRICS["distance"](seen) == frechet(a.mean, a.cov, b.mean, b.cov)
    assert METRICS["kid"](seen, subsets=7, subset_size=20) == kid(fake, real, 7, 20)
    both = precision_recall(real, fake)
    assert (METRICS["precision"](seen), METRICS["recall"](seen)) == both
    assert METRICS["is"](seen) == inception_score(logits, 10)
    few, *_ = _seen(logits[:3])
    assert METRICS["is"](few) == inception_score(logits[:3], 3)  # no more parts than samples
    with pytest.raises(ValueError, match="needs class logits"):
        METRICS["is"](_seen()[0])


def test_what_metrics_share_is_computed_once():
    seen, asked = _seen()[0], []

    def shared(seen):
        asked.append(seen)
        return len(seen.features)

    assert [seen.once(shared), seen.once(shared)] == [40, 40] and asked == [seen]
    assert seen.moments is seen.moments


def test_what_a_report_reads_off_a_metric():
    facts = {name: part.facts for name, part in METRICS.parts.items()}
    labels = {name: fact.label for name, fact in facts.items()}
    assert labels["distance"] == "FID" and labels["kid"] == "KID" and labels["is"] == "IS"
    better = {name for name, fact in facts.items() if fact.lower_is_better}
    assert better >= {"distance", "kid"} and not better & {"precision", "recall", "is"}
    assert facts["is"].needs_logits and not facts["distance"].needs_logits


# Names


@pytest.mark.parametrize(
    ("metric", "extractor", "n", "name"),
    [
        ("FID", "inception", 50_000, "FID"),
        ("FID", "inception", 60_000, "FID"),
        ("FID", "inception", 10_000, "FID-10k"),
        ("FID", "inception", 1797, "FID-1797"),
        ("FID", "inception", 49_984, "FID-49984"),
        ("FID", "classifier", 1617, "FD[classifier]-1617"),
        ("FID", "classifier", 50_000, "FD[classifier]"),
        ("FID", "inception:0123abcd", 50_000, "FD[inception:0123abcd]"),
        ("KID", "inception", 5000, "KID-5k"),
        ("IS", "classifier", 999, "IS[classifier]-999"),
    ],
)
def test_only_fifty_thousand_of_inception_are_called_fid(metric, extractor, n, name):
    assert label(metric, extractor, n) == name
    assert label(metric, SimpleNamespace(name=extractor), n) == name
    with pytest.raises(ValueError, match="at least 1"):
        label(metric, extractor, 0)
