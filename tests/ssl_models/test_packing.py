import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_models.packing import Packer
from ssl_models.reader import Index, Reader

CLS, SEP, PAD = 1, 2, 0


class Memory(Index):
    """An index over texts in memory: text `n` of key k is read back as it is."""

    def __init__(self, texts: dict[str, str]) -> None:
        from ssl_models.keys import sample_words

        self.keys, self.texts = sorted(texts), texts
        self.words = sample_words(self.keys)


class MemoryReader(Reader):
    def read(self, position):
        from ssl_models.reader import Document

        sample, epoch = self.sample_at(position)
        key = self.index.keys[sample]
        return Document(position, epoch, key, int(self.index.words[sample]), self.index.texts[key])


def tokenize(texts):
    return [np.array([ord(c) for c in text], np.int32) for text in texts]


def packer(texts, rows=3, length=12, seed=0, ahead=5, tokens=tokenize):
    reader = MemoryReader(Memory(texts), seed)
    return Packer(reader, tokens, rows=rows, length=length, cls=CLS, sep=SEP, pad=PAD, ahead=ahead)


corpora = (
    st.lists(st.integers(0, 40), min_size=1, max_size=25)
    .filter(any)
    .map(
        lambda sizes: {f"{n:04x}": "".join(chr(97 + (n + i) % 26) for i in range(size)) for n, size in enumerate(sizes)}
    )
)


def unpack(batches):
    """(position-independent) each segment's ids, in the order of rows, with its sample's word, epoch and chunk."""
    for batch in batches:
        for number in range(len(batch.words_S)):
            where = batch.segment_BT == number
            yield (
                int(batch.words_S[number]),
                int(batch.epochs_S[number]),
                int(batch.chunks_S[number]),
                batch.ids_BT[where],
            )


@settings(max_examples=60, deadline=None)
@given(corpora, st.integers(1, 4), st.integers(3, 20), st.integers(0, 3))
def test_every_token_of_every_document_read_is_in_a_row_or_still_open(texts, rows, length, seed):
    made = packer(texts, rows, length, seed)
    batches = [next(made) for _ in range(30)]
    found = {(word, epoch, chunk): ids for word, epoch, chunk, ids in unpack(batches)}
    assert len(found) == sum(len(batch.words_S) for batch in batches), "a chunk came twice"
    state = made.state()
    waiting = set(zip(state["positions"], state["chunks"], strict=True))
    reader = MemoryReader(Memory(texts), seed)
    size = length - 2
    begun = state["read"][0] - bool(state["next_chunk"])
    for position in range(state["read"][0]):
        document = reader.read(position)
        tokens = tokenize([document.text])[0]
        for chunk in range(-(-len(tokens) // size)):
            if position >= begun and chunk >= state["next_chunk"][0]:
                continue
            expected = [CLS, *tokens[chunk * size : (chunk + 1) * size], SEP]
            if (position, chunk) in waiting:
                assert (document.word, document.epoch, chunk) not in found
            else:
                assert found[document.word, document.epoch, chunk].tolist() == expected
    for batch in batches:
        assert batch.ids_BT.shape == (rows, length)
        assert (batch.ids_BT[batch.segment_BT < 0] == PAD).all()


@settings(max_examples=40, deadline=None)
@given(corpora, st.integers(3, 20))
def test_a_segment_stands_together_and_places_restart(texts, length):
    for batch in [next(made) for made in [packer(texts, 2, length)] for _ in range(5)]:
        for row, places in zip(batch.segment_BT, batch.place_BT, strict=True):
            used = row[row >= 0]
            assert (np.diff(used) >= 0).all()
            assert (row[: len(used)] == used).all(), "padding stands at the end"
            for number in set(used.tolist()):
                assert places[row == number].tolist() == list(range(int((row == number).sum())))


@settings(max_examples=40, deadline=None)
@given(corpora, st.integers(0, 12), st.integers(1, 7), st.integers(1, 7))
def test_a_restored_packer_goes_on_exactly(texts, before, ahead, other_ahead):
    whole = packer(texts, ahead=ahead)
    for _ in range(before):
        next(whole)
    state = json.loads(json.dumps(whole.state()))
    late = packer(texts, ahead=other_ahead)
    late.restore(state)
    assert late.state() == state
    for _ in range(10):
        assert_equal(next(whole), next(late))
    assert whole.state() == late.state()


def assert_equal(one, two):
    for name, value in vars(one).items():
        assert np.array_equal(value, getattr(two, name)), name


def test_a_batch_depends_only_on_documents_already_read():
    """Contract 4: removing a document leaves every batch before its read as it was."""
    texts = {f"{n:04x}": "abcdefghij"[: 1 + n % 10] for n in range(300)}
    reader = MemoryReader(Memory(texts), 0)
    removed = reader.read(150).key
    whole, less = packer(texts, 4, 16), packer({k: v for k, v in texts.items() if k != removed}, 4, 16)
    batches = [next(whole) for _ in range(60)]
    unaffected = [batch for batch in batches if batch.read <= 150]
    assert 5 <= len(unaffected) < 60
    for batch in unaffected:
        assert_equal(batch, next(less))


@pytest.mark.parametrize("rows", [8, 32])
def test_rows_are_dense(rows):
    """Lengths as in a corpus of docstrings: log-normal, median 40 tokens, some far longer than a row."""
    random = np.random.default_rng(0)
    sizes = np.clip(np.exp(random.normal(np.log(40), 1.0, 4000)), 3, 3000).astype(int)
    texts = {f"{n:04x}": "x" * int(size) for n, size in enumerate(sizes)}
    made = packer(texts, rows, 128)
    batches = [next(made) for _ in range(400 // rows)]
    assert sum(batch.tokens for batch in batches) / sum(batch.ids_BT.size for batch in batches) >= 0.95
    assert min(batch.tokens / batch.ids_BT.size for batch in batches[2:]) >= 0.9


def test_what_cannot_be_packed_is_refused():
    with pytest.raises(ValueError, match="no token in any document"):
        next(packer({"a": "", "b": ""}))
    with pytest.raises(ValueError, match="must hold"):
        packer({"a": "x"}, length=2)
    made = packer({"a": "x" * 30})
    next(made)
    state = made.state()
    with pytest.raises(ValueError, match="does not fit"):
        packer({"a": "x" * 30}, length=6).restore(
            {
                **state,
                "sizes": [9, *state["sizes"]],
                "open": [1],
                "positions": [0] * 9 + state["positions"],
                "chunks": [0] * 9 + state["chunks"],
            }
        )
