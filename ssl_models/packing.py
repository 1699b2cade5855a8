"""A causal packer: documents into fixed rows of T tokens, nothing dropped, no batch that depends on a later document.

A document becomes chunks of at most T tokens, each [CLS] tokens [SEP]. A chunk goes into the open row that it fills
best; where it fits in none, the fullest open row is closed. B closed rows are a batch. More rows are open than a batch
holds, so a closed row is the fullest of many: density stays above 95 % on ordinary text.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ssl_models.reader import Document, Reader

Tokenize = Callable[[list[str]], list[np.ndarray]]  # ordinary tokens of each text, int32, without special tokens


@dataclass(frozen=True, slots=True)
class Segment:
    """A chunk in a row: the document's position in the stream, the chunk's number, its ids with special tokens."""

    position: int
    epoch: int
    word: int
    chunk: int
    ids: np.ndarray


@dataclass(frozen=True)
class Batch:
    """Packed rows. `ids`, `segment` (number within the batch, -1 where padded), `place` (position within the segment):
    int64 [B, T]. Per segment: `word`, `epoch`, `chunk` [S]. `read`: documents read when it was whole."""

    ids_BT: np.ndarray
    segment_BT: np.ndarray
    place_BT: np.ndarray
    words_S: np.ndarray
    epochs_S: np.ndarray
    chunks_S: np.ndarray
    read: int

    @property
    def tokens(self) -> int:
        return int((self.segment_BT >= 0).sum())

    @property
    def cells(self) -> int:
        """Tokens that the rows have room for."""
        return self.ids_BT.size


class Packer:
    """Endless batches of `rows` x `length` from a reader. `state()` between batches restores it exactly."""

    def __init__(
        self,
        reader: Reader,
        tokenize: Tokenize,
        *,
        rows: int,
        length: int,
        cls: int,
        sep: int,
        pad: int,
        ahead: int = 64,
    ) -> None:
        if length < 3:
            raise ValueError("a row must hold [CLS], a token and [SEP]")
        self.reader, self.tokenize = reader, tokenize
        self.rows, self.length, self.cls, self.sep, self.pad = rows, length, cls, sep, pad
        self.open_rows = max(64, 2 * rows)
        self._ahead = ahead  # documents tokenized together; changes no batch
        self._room = np.zeros(0, np.int64)  # free tokens of each open row
        self._open: list[list[Segment]] = []
        self._closed: deque[list[Segment]] = deque()
        self._tokens: deque[tuple[Document, np.ndarray]] = deque()
        self._document: tuple[Document, np.ndarray] | None = None
        self._chunk = 0
        self.read = reader.position  # documents handed to rows; the reader itself may be ahead

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        while len(self._closed) < self.rows:
            self._place(self._next_segment())
        return self._batch([self._closed.popleft() for _ in range(self.rows)])

    def _next_segment(self) -> Segment:
        empty = 0
        while self._document is None:
            if empty > 2 * len(self.reader):  # across an epoch boundary nearly two epochs may be empty
                raise ValueError("the tokenizer finds no token in any document of the corpus")
            if not self._tokens:
                documents = [next(self.reader) for _ in range(self._ahead)]
                self._tokens.extend(zip(documents, self.tokenize([d.text for d in documents]), strict=True))
            self._document, self._chunk = self._tokens.popleft(), 0
            self.read += 1
            if not len(self._document[1]):
                self._document = None
                empty += 1
        document, tokens = self._document
        segment = self._cut(document, tokens, self._chunk)
        self._chunk += 1
        if self._chunk * (self.length - 2) >= len(tokens):
            self._document = None
        return segment

    def _cut(self, document: Document, tokens: np.ndarray, chunk: int) -> Segment:
        size = self.length - 2
        ids = np.concatenate(([self.cls], tokens[chunk * size : (chunk + 1) * size], [self.sep])).astype(np.int64)
        return Segment(document.position, document.epoch, document.word, chunk, ids)

    def _place(self, segment: Segment) -> None:
        size = len(segment.ids)
        left = np.where(self._room >= size, self._room, self.length + 1)
        best = int(left.argmin()) if len(left) else -1
        if best >= 0 and left[best] <= self.length:
            self._open[best].append(segment)
            self._room[best] -= size
            if self._room[best] < 3:  # no chunk is shorter
                self._close(best)
            return
        if len(self._open) >= self.open_rows:
            self._close(int(self._room.argmin()))
        self._open.append([segment])
        self._room = np.append(self._room, self.length - size)

    def _close(self, row: int) -> None:
        self._closed.append(self._open.pop(row))
        self._room = np.delete(self._room, row)

    def _batch(self, rows: list[list[Segment]]) -> Batch:
        ids = np.full((self.rows, self.length), self.pad, np.int64)
        number, place = np.full_like(ids, -1), np.zeros_like(ids)
        segments = [segment for row in rows for segment in row]
        count = 0
        for r, row in enumerate(rows):
            end = 0
            for segment in row:
                begin, end = end, end + len(segment.ids)
                ids[r, begin:end] = segment.ids
                number[r, begin:end] = count
                place[r, begin:end] = np.arange(end - begin)
                count += 1
        return Batch(
            ids,
            number,
            place,
            np.array([s.word for s in segments], np.uint64),
            np.array([s.epoch for s in segments], np.int64),
            np.array([s.chunk for s in segments], np.int64),
            self.read,
        )

    def state(self) -> dict[str, list[int]]:
        """Everything between two batches, as integers: which chunks lie in which row, and what comes next.

        Texts are not kept: a chunk is named by (position of its document, number), and read again on `restore`.
        """
        rows = [*self._open, *self._closed]
        return {
            "read": [self.read],
            "next_chunk": [self._chunk] if self._document is not None else [],
            "open": [len(self._open)],
            "sizes": [len(row) for row in rows],
            "positions": [segment.position for row in rows for segment in row],
            "chunks": [segment.chunk for row in rows for segment in row],
        }

    def restore(self, state: dict[str, list[int]]) -> None:
        """Stand where `state` was taken. ValueError when the state does not fit this packer."""
        wanted = sorted(set(state["positions"]))
        documents = [self.reader.read(position) for position in wanted]
        tokens = dict(zip(wanted, zip(documents, self.tokenize([d.text for d in documents]), strict=True), strict=True))
        segments = iter([self._cut(*tokens[p], c) for p, c in zip(state["positions"], state["chunks"], strict=True)])
        rows = [[next(segments) for _ in range(size)] for size in state["sizes"]]
        self._open, self._closed = rows[: state["open"][0]], deque(rows[state["open"][0] :])
        self._room = np.array([self.length - sum(len(s.ids) for s in row) for row in self._open], np.int64)
        if len(self._room) and self._room.min() < 0:
            raise ValueError("the packer's state does not fit: another sequence length, tokenizer or corpus")
        self.read = state["read"][0]
        self.reader.position = self.read
        self._tokens.clear()
        self._document, self._chunk = None, 0
        if state["next_chunk"]:
            document = self.reader.read(self.read - 1)
            self._document, self._chunk = (document, self.tokenize([document.text])[0]), state["next_chunk"][0]
