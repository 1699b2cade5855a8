"""Lines out of whole and broken streams, against the plain way of doing it."""

import gzip
import hashlib
import io
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.curation.sources.splitting import Broken, Hashed, decompressed, lines

PACK = {".gz": gzip.compress, ".zst": zstandard.compress, "": bytes}


def pieces(data, sizes):
    """`data` cut into pieces of the given sizes, and the rest."""
    for size in sizes:
        if data[:size]:
            yield data[:size]
        data = data[size:]
    if data:
        yield data


@given(
    st.binary(max_size=200) | st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\xff", b" "])).map(b"".join), st.data()
)
def test_lines_are_those_of_split_however_the_bytes_arrive(data, draw):
    sizes = draw.draw(st.lists(st.integers(1, 20)))
    want = data.split(b"\n")
    want = want[:-1] if want[-1] == b"" else want
    want = [line.removesuffix(b"\r") for line in want]
    if want and want[0].startswith(b"\xef\xbb\xbf"):
        want[0] = want[0][3:]
    found = list(lines(pieces(data, sizes), 1000))
    assert [line.data for line in found] == want
    assert [line.number for line in found] == list(range(1, len(want) + 1))


@given(st.lists(st.binary(max_size=30)), st.integers(0, 20))
def test_hashed_counts_and_hashes_what_it_does_not_keep(parts, limit):
    found = Hashed(limit)
    for part in parts:
        found.add(part)
    whole = b"".join(parts)
    assert (found.size, found.sha256()) == (len(whole), hashlib.sha256(whole).hexdigest())
    assert found.overflowed == (len(whole) > limit)
    assert found.data() == (b"" if found.overflowed else whole)


def test_a_long_line_is_hashed_and_its_neighbours_stay():
    found = list(lines(iter([b"one\n" + b"x" * 60, b"y" * 60 + b"\nthree"]), 100))
    assert [line.fault for line in found] == ["", "ingest.too_large", ""]
    assert (found[1].size, found[1].data) == (120, b"")
    assert found[1].sha256 == hashlib.sha256(b"x" * 60 + b"y" * 60).hexdigest()
    assert found[2].data == b"three"


@pytest.mark.parametrize("suffix", PACK)
@given(st.lists(st.binary(max_size=100), max_size=4))
def test_members_and_frames_that_follow_each_other_are_one_stream(suffix, parts):
    packed = b"".join(PACK[suffix](part) for part in parts)
    assert b"".join(decompressed(io.BytesIO(packed), suffix)) == b"".join(parts)


def test_gzip_padding_is_no_fault():
    assert b"".join(decompressed(io.BytesIO(gzip.compress(b"x") + bytes(600)), ".gz")) == b"x"


LINES = b"".join(b"line %d of some text\n" % number for number in range(20_000))
PACKED = {".gz": gzip.compress(LINES), ".zst": zstandard.ZstdCompressor(write_checksum=True).compress(LINES)}


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@settings(max_examples=12)
@given(st.floats(0, 1, exclude_max=True))
def test_a_truncated_stream_keeps_its_whole_lines(suffix, share):
    cut = PACKED[suffix][: max(1, int(share * len(PACKED[suffix])))]
    *whole, tail = lines(decompressed(io.BytesIO(cut), suffix), 1 << 20)
    assert tail.fault == "ingest.truncated"
    kept = b"".join(line.data + b"\n" for line in whole)
    assert hashlib.sha256(kept).digest() == hashlib.sha256(LINES[: len(kept)]).digest()
    if suffix == ".gz":  # nothing that can be decoded is given up
        assert len(kept) + tail.size == len(zlib.decompressobj(wbits=31).decompress(cut))


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@settings(max_examples=12)
@given(st.floats(0.1, 0.9), st.integers(1, 255))
def test_a_corrupt_stream_is_noticed(suffix, share, flip):
    packed = bytearray(PACKED[suffix])
    packed[int(share * len(packed))] ^= flip
    with pytest.raises(Broken):
        list(decompressed(io.BytesIO(bytes(packed)), suffix))


class Slow(io.BytesIO):
    """Gives a few bytes at a time, as a remote file may."""

    def read(self, size=-1):
        return super().read(min(size, 7))


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_what_survives_a_break_depends_on_the_bytes_alone(suffix):
    broken = bytearray(PACKED[suffix])
    broken[len(broken) // 2] ^= 0xFF
    for data in (bytes(broken), PACKED[suffix][: len(broken) // 2]):
        quick = list(lines(decompressed(io.BytesIO(data), suffix), 1 << 20))
        slow = list(lines(decompressed(Slow(data), suffix), 1 << 20))
        assert quick == slow


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_bomb_stays_small_in_memory(suffix):
    packed = PACK[suffix](bytes(100_000_000))
    tracemalloc.start()
    (line,) = lines(decompressed(io.BytesIO(packed), suffix), 1 << 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (line.fault, line.size) == ("ingest.too_large", 100_000_000)
    assert peak < 50_000_000
