import itertools
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets import get_dataset
from datasets.loader import batches, indices
from tests.images import config, encoded, noise, tree, write_folder, write_zip

# Three workers are more than a small machine has processors; torch says so.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    names = [f"{kind}/{i}.png" for kind in ("ant", "bee") for i in range(10)]
    return write_folder(tmp_path_factory.mktemp("data"), tree(names))


@pytest.fixture(scope="module")
def streamed(folder):
    return get_dataset(config(path=folder, in_memory=False))[0]


@pytest.fixture(scope="module")
def held(folder):
    return get_dataset(config(path=folder))[0]


def take(dataset, count, *args, **options):
    stream = batches(dataset, *args, **options)
    got = list(itertools.islice(stream, count))
    stream.close()
    return got


def assert_same(got, wanted):
    assert len(got) == len(wanted)
    for (images, labels), (right_images, right_labels) in zip(got, wanted, strict=True):
        assert torch.equal(images, right_images)
        assert torch.equal(labels, right_labels)


def test_every_epoch_holds_every_image_once_and_epochs_differ():
    n, epochs = 23, 4
    order = indices(n, 5, 0, n * epochs).reshape(epochs, n)
    assert (np.sort(order, axis=1) == np.arange(n)).all()
    assert len({tuple(row) for row in order}) == epochs
    assert not np.array_equal(order[0], indices(n, 6, 0, n))


def test_any_window_of_the_stream_is_the_same_as_the_whole():
    n = 7
    whole = indices(n, 1, 0, 100)
    for start, count in [(0, 1), (6, 2), (13, 30), (50, 0), (99, 1)]:
        assert np.array_equal(indices(n, 1, start, count), whole[start : start + count])


def test_order_is_pinned():
    """A changed order would make every resumed run see other images."""
    assert indices(10, 0, 8, 6).tolist() == [8, 1, 9, 1, 3, 8]


@pytest.mark.parametrize("wrong", [(0, 0, 0, 1), (5, 0, -1, 1), (5, -1, 0, 1)])
def test_impossible_order_is_refused(wrong):
    with pytest.raises(ValueError, match="no image order"):
        indices(*wrong)


def test_batches_follow_the_order_and_carry_labels(held):
    order = indices(len(held), 3, 0, 24).reshape(4, 6)
    for (images, labels), picked in zip(take(held, 4, 6, 3), order, strict=True):
        assert images.dtype == torch.uint8
        assert torch.equal(images, held.images(picked))
        assert torch.equal(labels, held.labels[picked])


@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_anywhere_continues_the_stream(streamed, workers):
    whole = take(streamed, 9, 8, 1)
    assert_same(take(streamed, 4, 8, 1, start_step=5, num_workers=workers), whole[5:])


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(streamed, held, workers):
    wanted = take(held, 6, 8, 2)
    assert_same(take(streamed, 6, 8, 2, num_workers=workers), wanted)
    assert_same(take(held, 6, 8, 2, num_workers=workers), wanted)
    assert_same(take(streamed, 6, 8, 2), wanted)


@pytest.mark.slow
def test_spawned_workers_change_nothing(folder, held, tmp_path):
    files = {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*.png")}
    zipped = write_zip(tmp_path / "data.zip", files)
    dataset = get_dataset(config(path=zipped, in_memory=False))[0]
    dataset.images([0])  # an archive that is open already must not travel
    got = take(dataset, 3, 8, 2, num_workers=1, context="spawn")
    assert_same(got, take(held, 3, 8, 2))


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_batches_of_one(held, world):
    whole = take(held, 5, 12, 4)
    shares = [take(held, 5, 12, 4, rank=rank, world=world) for rank in range(world)]
    together = [
        tuple(torch.cat(parts) for parts in zip(*step, strict=True))
        for step in zip(*shares, strict=True)
    ]
    assert_same(together, whole)


def test_a_batch_larger_than_the_data_wraps_over_epochs(held):
    images, labels = take(held, 1, 50, 0)[0]
    assert torch.equal(images, held.images(indices(20, 0, 0, 50)))
    assert torch.bincount(labels).tolist()[0] >= 20


def test_uneven_shares_and_foreign_ranks_are_refused(held):
    with pytest.raises(ValueError, match="batch of 10 images does not divide over 3 processes"):
        batches(held, 10, 0, world=3)
    with pytest.raises(ValueError, match=r"rank 2 is not in 0\.\.1"):
        batches(held, 10, 0, rank=2, world=2)


def test_unlabelled_data_gives_no_labels(tmp_path):
    root = write_folder(tmp_path, tree(["a.png", "b.png"]))
    for in_memory, workers in [(True, 0), (False, 0), (False, 1)]:
        dataset = get_dataset(config(path=root, in_memory=in_memory))[0]
        assert take(dataset, 1, 2, 0, num_workers=workers)[0][1] is None


@pytest.mark.parametrize("workers", [0, 1])
def test_the_global_generators_are_left_alone(streamed, workers):
    torch.manual_seed(0)
    np.random.seed(0)
    states = torch.get_rng_state(), pickle.dumps(np.random.get_state())
    take(streamed, 2, 4, 0, num_workers=workers)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert pickle.dumps(np.random.get_state()) == states[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_image_is_named_in_one_line(tmp_path, workers):
    files = tree([f"{i}.png" for i in range(6)])
    files["3.png"] = files["3.png"][:60]
    dataset = get_dataset(config(path=write_folder(tmp_path, files), in_memory=False))[0]
    with pytest.raises(OSError, match=r"unreadable image .*3\.png: ") as caught:
        take(dataset, 6, 1, 0, num_workers=workers)
    assert "\n" not in str(caught.value)


def test_torch_dataloader_reads_the_dataset(held, streamed):
    for dataset in (held, streamed):
        images, labels = next(iter(torch.utils.data.DataLoader(dataset, batch_size=4)))
        assert torch.equal(images, held.images(range(4)))
        assert labels.tolist() == [0] * 4
        assert len(list(dataset)) == 20


KILLED = """
import os, signal, sys, time
from tests.images import config
from datasets import get_dataset
from datasets.loader import batches

if __name__ == "__main__":
    def stop(number, frame):
        print("handled by", "parent" if os.getpid() == parent else "worker", flush=True)
    parent = os.getpid()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGUSR1, stop)
    dataset = get_dataset(config(path=sys.argv[1], in_memory=False))[0]
    stream = batches(dataset, 4, 0, num_workers=2)
    next(stream), next(stream)  # one of each worker: both have begun
    import multiprocessing
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    sys.stdin.readline()
    for _ in range(200):
        next(stream)
    print("went on", flush=True)
    try:
        sys.stdin.readline()  # torch raises in whatever the main thread does at that moment
        while True:
            next(stream)
            time.sleep(0.001)
    except RuntimeError as err:
        print(type(err).__name__, str(err).splitlines()[0], flush=True)
"""


@pytest.fixture
def trainer(folder, tmp_path):
    """A process with signal handlers of its own and two workers; yields (process, worker ids)."""
    script = tmp_path / "trainer.py"
    script.write_text(KILLED)
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    yield process, [int(pid) for pid in process.stdout.readline().split()]
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def tell(process):
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="needs POSIX signals")
def test_workers_outlive_a_schedulers_signals_and_a_dead_one_is_an_error(trainer):
    process, workers = trainer
    for pid in workers:
        os.kill(pid, signal.SIGTERM)  # not from its parent: as SLURM signals every process
        os.kill(pid, signal.SIGUSR1)
    time.sleep(0.5)
    tell(process)
    assert process.stdout.readline() == "went on\n"
    os.kill(workers[0], signal.SIGKILL)
    tell(process)
    assert process.stdout.readline().startswith("RuntimeError DataLoader worker")


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="needs POSIX signals")
def test_workers_obey_their_parent_and_leave_nothing_behind(streamed):
    stream = batches(streamed, 4, 0, num_workers=1)
    next(stream)
    (worker,) = multiprocessing.active_children()
    worker.terminate()
    worker.join(5)
    assert worker.exitcode == 0
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        for _ in range(1000):
            next(stream)
    assert not multiprocessing.active_children()


def test_closing_the_stream_ends_its_workers(streamed):
    stream = batches(streamed, 4, 0, num_workers=2)
    next(stream)
    assert len(multiprocessing.active_children()) == 2
    stream.close()
    assert not multiprocessing.active_children()


def test_forked_workers_read_one_archive_at_the_same_time(tmp_path):
    names = [f"{i}.png" for i in range(40)]
    files = {name: encoded(noise(i, 64, 64)) for i, name in enumerate(names)}
    path = write_zip(tmp_path / "z.zip", files)
    dataset = get_dataset(config(path=path, in_memory=False, image_size=64))[0]
    whole = get_dataset(config(path=path, image_size=64))[0]
    dataset.images([0])  # the parent's archive is open when its workers are forked
    for got, right in zip(
        take(dataset, 20, 8, 0, num_workers=3), take(whole, 20, 8, 0), strict=True
    ):
        assert torch.equal(got[0], right[0])
