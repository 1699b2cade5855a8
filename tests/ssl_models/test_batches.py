import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_corpora import keyed_texts, write_corpus

from ssl_models.batches import Batches
from ssl_models.reader import Index, Reader

TEXTS = keyed_texts(50)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("batches"), TEXTS, shards=4)


@settings(max_examples=40)
@given(
    share=st.integers(1, 5),
    first_ranks=st.integers(1, 4),
    then_ranks=st.integers(1, 4),
    stop=st.integers(0, 9),
    order=st.sampled_from(["global", "blocked"]),
)
def test_ranks_may_change_and_every_position_is_read_once(corpus, share, first_ranks, then_ranks, stop, order):
    index, batch = Index(corpus, "train"), share * 12
    with Reader(index, 1, order=order, group_shards=2) as reader:
        expected = reader.take(0, 10 * batch)
        got = []
        for number in range(10):
            ranks = first_ranks if number < stop else then_ranks
            for rank in range(ranks):
                got.append(Batches.at(reader, batch, number * batch, rank=rank, ranks=ranks).part(number))
    assert [p.position for p in got] == sorted(p.position for p in got)
    assert sum((p.keys for p in got), []) == expected.keys
    assert sum((p.payloads for p in got), []) == expected.payloads
    assert np.concatenate([p.epochs for p in got]).tolist() == expected.epochs.tolist()
    epochs = {}
    for key, epoch in zip(expected.keys, expected.epochs.tolist(), strict=True):
        epochs.setdefault(epoch, []).append(key)
    for epoch, keys in epochs.items():  # no short batch at the boundary, nothing twice within an epoch
        assert len(set(keys)) == len(keys) == (len(TEXTS) if epoch < max(epochs) else len(keys))


LOADED = """
import json, sys
from pathlib import Path
from torch.utils.data import DataLoader
from ssl_models.batches import Batches
from ssl_models.reader import Index, Reader
with Reader(Index(Path(sys.argv[1]), "train"), 1, order=sys.argv[2], group_shards=2) as reader:
    reader.take(0, 10)  # what is open here is not shared with the workers
    batches = Batches(reader, 12, rank=1, ranks=2, first=3)
    loader = iter(DataLoader(batches, batch_size=None, num_workers=2, multiprocessing_context="fork"))
    got = [next(loader) for _ in range(5)]
    del loader
    print(json.dumps([[part.keys, part.position] for part in got]))
"""


@pytest.mark.parametrize("order", ["global", "blocked"])
def test_a_loader_with_workers_gives_what_the_stream_gives(corpus, order):
    command = [sys.executable, "-c", LOADED, str(corpus), order]  # a process of its own: one with threads must not fork
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with Reader(Index(corpus, "train"), 1, order=order, group_shards=2) as reader:
        batches = Batches(reader, 12, rank=1, ranks=2, first=3)
        expected = [[batches.part(number).keys, number * 12 + 6] for number in range(3, 8)]
    assert json.loads(done.stdout) == expected


def test_what_cannot_be_shared_out_is_said(corpus):
    reader = Reader(Index(corpus, "train"), 0)
    for batch, ranks, rank in [(10, 4, 0), (0, 1, 0), (4, 0, 0)]:
        with pytest.raises(ValueError, match="shared out evenly"):
            Batches(reader, batch, rank=rank, ranks=ranks)
    with pytest.raises(ValueError, match="no rank 2"):
        Batches(reader, 4, rank=2, ranks=2)
    with pytest.raises(ValueError, match="the batch may not change"):
        Batches.at(reader, 8, 20)
    with pytest.raises(ValueError, match="number 0"):
        Batches(reader, 8, first=-1)


CHILD = """
import sys
from pathlib import Path
from ssl_models.reader import Index, Reader
out = Path(sys.argv[2])
done = out.read_text().splitlines() if out.exists() else []
with Reader(Index(Path(sys.argv[1]), "train"), 1, order=sys.argv[3], group_shards=2) as reader, open(out, "a") as file:
    for number in range(len(done), 40):
        got = reader.take(number * 6, number * 6 + 6)
        file.write(f"{number} {' '.join(got.keys)} {hash(tuple(map(len, got.payloads)))}\\n")
        file.flush()
        print(number, flush=True)
        if len(done) == 0 and number == 17:
            sys.stdin.read()  # until it is killed
"""


@pytest.mark.parametrize("order", ["global", "blocked"])
def test_a_killed_reader_goes_on_as_if_nothing_had_happened(corpus, tmp_path, order):
    def start(out):
        command = [sys.executable, "-c", CHILD, str(corpus), str(tmp_path / out), order]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    with start("killed") as process:
        while process.stdout.readline() != b"17\n":
            assert process.poll() is None
        process.kill()
        assert process.wait() == -signal.SIGKILL
    with start("killed") as process:
        process.communicate()
    with Reader(Index(corpus, "train"), 1, order=order, group_shards=2) as reader:
        whole = [reader.take(number * 6, number * 6 + 6) for number in range(40)]
    expected = [f"{n} {' '.join(got.keys)} {hash(tuple(map(len, got.payloads)))}" for n, got in enumerate(whole)]
    assert (tmp_path / "killed").read_text().splitlines() == expected
