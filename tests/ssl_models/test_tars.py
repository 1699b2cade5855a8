import gzip
import io
import subprocess
import sys
import tarfile

import pytest
from hostile_tars import CASES, END, GOOD, bomb, entry, header, pax, plain_tar
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_models import tar_samples
from ssl_models.tar_samples import open_tar, samples
from ssl_models.tars import TAIL, Limits, Tar


class Forward(io.BytesIO):
    """A stream that cannot be sought, and gives what it has in small pieces' worth of reads."""

    def seekable(self):
        return False

    def seek(self, *_):
        raise AssertionError("a stream is not sought")


def openings(data):
    yield Tar(io.BytesIO(data))
    yield Tar(Forward(data))
    with open_tar(io.BytesIO(gzip.compress(data))) as tar:
        yield tar


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_tar_is_refused_member_by_member(name):
    data, expected = CASES[name]
    for payloads in (False, True):
        for number, tar in enumerate(openings(data)):
            found = list(samples(tar, payloads))
            if isinstance(expected, str):
                *before, tail = found
                # what cannot be sought shows its end only when it is reached: then the member is refused by its data
                assert tail.key == TAIL
                assert tail.reason in (expected, "tar.truncated", "tar.member_too_large")
                if number == 0:
                    assert tail.reason == expected
                    assert tail.offset + tail.length == len(data)
                    whole = expected == "tar.trailing"  # else the break may have cut the sample before it
                    assert [not s.reason for s in before] == [True] * (len(before) - 1) + [whole] * bool(before)
                assert all(s.key == "good" or s.reason for s in before)
            elif expected is None:
                assert [(s.key, s.reason) for s in found] == [("a", ""), ("good", ""), ("a", "tar.duplicate")]
            else:
                assert {s.key: s.reason for s in found} == expected
            for sample in found:
                assert not (sample.reason and sample.payloads)
                if payloads and sample.key == "good" and not sample.reason:
                    assert sample.payloads == {"txt": b"good"}


names = st.lists(
    st.text(st.characters(codec="utf-8", categories=["Ll", "Lu", "Nd"]), min_size=1, max_size=60),
    min_size=1,
    max_size=4,
)
members = st.lists(
    st.tuples(names.map("/".join), st.sampled_from(["txt", "jpg", "seg.png"]), st.binary(max_size=1100)), max_size=6
)


@settings(max_examples=30)
@given(members=members, form=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_an_honest_tar_reads_as_tarfile_reads_it(members, form):
    try:
        data = plain_tar([(f"{name}.{extension}", payload) for name, extension, payload in members], form)
    except ValueError:  # no room for such a name in ustar
        return
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = [(m.name, m.offset, m.offset_data, m.size, "") for m in tar]
        contents = [tar.extractfile(m).read() for m in tar]
    for opened in openings(data):
        found = []
        for member, content in zip(opened, contents, strict=True):
            found.append((member.name, member.offset, member.start, member.length, member.reason))
            assert opened.read(member) == content
        assert found == expected


def test_keys_and_extensions_are_those_of_webdataset():
    import webdataset as wds

    rows = ["a.jpg", "a.seg.png", "x.d/b.JPG", "x.d/y/c.tar.gz", "./e.txt"]
    data = plain_tar([(name, b"1") for name in rows])
    ours = [(m.key, m.extension) for m in Tar(io.BytesIO(data))]
    theirs = [wds.tariterators.base_plus_ext(name.removeprefix("./")) for name in rows]
    assert ours == [(key, extension.lower()) for key, extension in theirs]


@settings(max_examples=150)
@given(data=st.data())
def test_no_bytes_at_all_make_it_fail(data):
    tar = bytearray(pax(b"12 path=a.a\n") + GOOD + entry("b.txt", b"y" * 600) + header("d/", 0, b"5") + END)
    for _ in range(data.draw(st.integers(1, 4))):
        tar[data.draw(st.integers(0, len(tar) - 1))] = data.draw(st.integers(0, 255))
    for opened in openings(bytes(tar)):
        for sample in samples(opened, payloads=True):
            assert sample.reason or all(len(sample.payloads[m.extension]) == m.length for m in sample.members.values())


def test_limits_are_refused_and_not_read():
    data = entry("a.txt", b"x" * 2000) + GOOD + entry("c.txt") + END
    small = Limits(member_bytes=1000, members=2)
    found = {s.key: s.reason for s in samples(Tar(io.BytesIO(data), small))}
    assert found == {"a": "tar.member_too_large", "good": "tar.too_many", TAIL: "tar.too_many"}
    whole = entry("a.txt", b"x" * 600) + entry("a.jpg", b"x" * 600) + GOOD + END
    found = {s.key: (s.reason, s.payloads) for s in samples(Tar(io.BytesIO(whole)), True, sample_bytes=1000)}
    assert found == {"a": ("tar.member_too_large", {}), "good": ("", {"txt": b"good"})}


def test_a_bomb_is_given_up(monkeypatch):
    monkeypatch.setattr(tar_samples, "FREE_BYTES", 2**20)
    with open_tar(io.BytesIO(bomb(24))) as tar:
        reasons = [sample.reason for sample in samples(tar, payloads=True)]
    assert reasons[-1] == "tar.bomb"
    assert all(reasons)


FAT = """
import io, resource, sys
sys.path.insert(0, {tests!r})
from hostile_tars import END, GOOD, entry, header
from ssl_models.tar_samples import samples
from ssl_models.tars import Tar

class Many:
    def __init__(self, count): self.left, self.sent, self.buffer = count, 0, b""
    def seekable(self): return False
    def read(self, size):
        while len(self.buffer) < size and self.left:
            self.left -= 1
            self.buffer += header(f"{{self.left:08d}}.txt") if self.left else END
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

def fat(path, size):
    with open(path, "wb") as file:
        file.write(header("pax", size, b"x"))
        file.seek(size, 1)
        file.write(entry("a.txt") + GOOD + END)

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
many = sum(not s.reason for s in samples(Tar(Many({count}))))
assert many == {count} - 1
fat({path!r}, 100 * 2**20)
with open({path!r}, "rb") as file:
    assert [(s.key, s.reason) for s in samples(Tar(file))] == [("a", "tar.header_too_large"), ("good", "")]
after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_maxrss - before, after.ru_utime + after.ru_stime)
"""


@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_many_members_and_fat_headers_stay_small(tmp_path, count):
    from pathlib import Path

    script = FAT.format(tests=str(Path(__file__).parents[1]), count=count, path=str(tmp_path / "fat.tar"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kibibytes = int(done.stdout.split()[0])
    assert kibibytes < 512 * 1024
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fat.tar"]
