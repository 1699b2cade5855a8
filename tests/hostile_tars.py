"""Tars that no honest writer makes: name -> (bytes, samples {key: reason}), each built header by header."""

import gzip
import io
import tarfile


def header(name, size=0, kind=b"0", prefix=b"", tail=b"", checksum=None):
    """A ustar header; `size` an integer or the 12 bytes of the field as they are."""
    name = name if isinstance(name, bytes) else name.encode()
    field = size if isinstance(size, bytes) else b"%011o\0" % size
    block = name[:100].ljust(100, b"\0") + b"0000444\0" + b"0000000\0" * 2 + field + b"00000000000\0"
    block += b" " * 8 + kind + b"\0" * 100 + b"ustar\x0000" + bytes(80) + prefix.ljust(155, b"\0") + tail
    block = block.ljust(512, b"\0")
    total = sum(block) if checksum is None else checksum
    return block[:148] + b"%06o\0 " % total + block[156:]


def entry(name, data=b"x", kind=b"0", **fields):
    return header(name, len(data), kind, **fields) + data + bytes(-len(data) % 512)


def pax(records, kind=b"x"):
    return entry("pax", records, kind)


def record(name, value):
    body = b" " + name + b"=" + value + b"\n"
    size = len(body)
    while len(str(size)) + len(body) != size:
        size = len(str(size)) + len(body)
    return str(size).encode() + body


END = bytes(1024)
GOOD = entry("good.txt", b"good")
OK = {"good": ""}


def _sparse(more=False):
    block = header("s.txt", 512, b"S", tail=b"")
    block = block[:482] + (b"\1" if more else b"\0") + block[483:]
    block = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:] + (bytes(512) if more else b"") + b"x" * 512


CASES = {
    "absolute": (GOOD + entry("/etc/cron.d/a.txt") + END, OK | {"/etc/cron.d/a": "tar.absolute"}),
    "parent": (GOOD + entry("../../a.txt") + END, OK | {"../../a.txt": "tar.parent"}),
    "parent inside": (entry("a/../../b.txt") + GOOD + END, OK | {"a/../../b.txt": "tar.parent"}),
    "parent by prefix": (entry("b.txt", prefix=b"a/..") + GOOD + END, OK | {"a/../b.txt": "tar.parent"}),
    "symlink": (header("a.txt", 0, b"2") + GOOD + END, OK | {"a": "tar.symlink"}),
    "symlink that claims data": (header("a.txt", 512, b"2") + GOOD + END, OK | {"a": "tar.symlink"}),
    "hardlink": (header("a.txt", 0, b"1") + GOOD + END, OK | {"a": "tar.hardlink"}),
    "character device": (header("a.txt", 0, b"3") + GOOD + END, OK | {"a": "tar.device"}),
    "block device": (header("a.txt", 0, b"4") + GOOD + END, OK | {"a": "tar.device"}),
    "fifo": (header("a.txt", 0, b"6") + GOOD + END, OK | {"a": "tar.fifo"}),
    "sparse": (_sparse() + GOOD + END, OK | {"s": "tar.sparse"}),
    "sparse with a longer map": (_sparse(more=True) + GOOD + END, OK | {"s": "tar.sparse"}),
    "sparse by pax": (pax(record(b"GNU.sparse.major", b"1")) + entry("s.txt") + GOOD + END, OK | {"s": "tar.sparse"}),
    "unknown type": (entry("v.txt", b"x", b"V") + GOOD + END, OK | {"v": "tar.unknown_type"}),
    "one extension twice": (entry("a.txt") * 2 + GOOD + END, OK | {"a": "tar.duplicate"}),
    "extension twice but for case": (entry("a.txt") + entry("a.TXT") + GOOD + END, OK | {"a": "tar.duplicate"}),
    "pickle": (entry("a.txt") + entry("a.pkl") + GOOD + END, OK | {"a": "tar.executable"}),
    "pickle by pyd": (entry("a.pyd") + GOOD + END, OK | {"a": "tar.executable"}),
    "torch pickle": (entry("a.jpg.pth") + GOOD + END, OK | {"a": "tar.executable"}),
    "no extension": (entry("Makefile") + GOOD + END, OK | {"Makefile": "tar.no_extension"}),
    "control characters": (entry("a\n\x1b[2J.txt") + GOOD + END, OK | {"a\n\x1b[2J.txt": "tar.name"}),
    "a drive": (entry("C:\\a.txt") + GOOD + END, OK | {"C:\\a.txt": "tar.name"}),
    "no utf-8": (entry(b"\xff\xfe.txt") + GOOD + END, OK | {"\ufffd\ufffd": "tar.name"}),
    "long name of 100 kB": (
        entry("././@LongLink", b"a" * 100_000 + b"\0", b"L") + entry("a.txt") + GOOD + END,
        OK | {"a": "tar.header_too_large"},
    ),
    "long name that climbs": (
        entry("././@LongLink", b"../" * 40 + b"a.txt\0", b"L") + entry("a.txt") + GOOD + END,
        OK | {"../" * 40 + "a.txt": "tar.parent"},
    ),
    "pax name that climbs": (
        pax(record(b"path", b"../a.txt")) + entry("b.txt") + GOOD + END,
        OK | {"../a.txt": "tar.parent"},
    ),
    "pax size beyond the end": (GOOD + pax(record(b"size", b"9" * 15)) + entry("b.txt") + END, "tar.truncated"),
    "pax size that is none": (GOOD + pax(record(b"size", b"-512")) + entry("b.txt") + END, "tar.pax"),
    "pax records that are none": (GOOD + pax(b"999 a=b\n") + entry("b.txt") + END, "tar.pax"),
    "pax without end": (GOOD + pax(b"0 a=b\n") + entry("b.txt") + END, "tar.pax"),
    "a name for all that follow": (GOOD + pax(record(b"path", b"a.txt"), b"g") + entry("b.txt") + END, "tar.pax"),
    "a size of 8 exabytes": (
        GOOD + header("b.txt", b"\x80" + bytes(3) + b"\x7f" + b"\xff" * 7) + b"x" * 512 + END,
        "tar.truncated",
    ),
    "a negative size": (GOOD + header("b.txt", b"\xff" * 12) + b"x" * 512 + END, "tar.header"),
    "a size in letters": (GOOD + header("b.txt", b"0000000zzzz\0") + END, "tar.header"),
    "a wrong check sum": (GOOD + header("b.txt", 0, checksum=1) + END, "tar.header"),
    "no tar": (b"\x89PNG\r\n\x1a\n" + b"p" * 2000, "tar.header"),
    "cut within a header": (GOOD + header("b.txt", 5)[:300], "tar.truncated"),
    "cut between members": (GOOD, "tar.truncated"),
    "cut in the last padding": (GOOD + entry("b.txt")[:-100], "tar.truncated"),
    "nothing at all": (b"", "tar.truncated"),
    "cut within data": (GOOD + entry("b.txt", b"y" * 5000)[:2000], "tar.truncated"),
    "a second archive behind the end": (GOOD + END + entry("a.txt"), "tar.trailing"),
    "a zip behind the end": (GOOD + bytes(10240) + b"PK\x03\x04" + b"z" * 99, "tar.trailing"),
    "a key that comes back": (entry("a.txt") + GOOD + entry("a.txt") + END, None),
}


def plain_tar(members, form=tarfile.PAX_FORMAT):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def bomb(megabytes):
    """A gzip of a tar whose one member is zeros."""
    data = io.BytesIO()
    with gzip.GzipFile(fileobj=data, mode="wb", compresslevel=1, mtime=0) as file:
        file.write(header("a.txt", megabytes * 2**20))
        for _ in range(megabytes):
            file.write(bytes(2**20))
    return data.getvalue()
