"""Files of every kind, whole and broken: each record found comes out once, and a fault stays where it is."""

import gzip
import io
import json
import os

import fsspec
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tasks.curation.ingest import settle
from tasks.curation.sources import Files, open_source
from tasks.curation.sources.files import kind
from tasks.curation.sources.jsonlines import read_json_lines
from tasks.curation.sources.rows import RowReader
from tasks.curation.sources.tables import read_csv
from tasks.errors import UserError

LIMIT = 2000


def read(path, **config):
    """The Raws of a `files` source, after checking that as many came out as were found."""
    source = open_source(Files(name="s", path=str(path), **({"maximum_text_bytes": LIMIT} | config)))
    found = list(source)
    assert source.read_count == len(found)
    return found


def rules(raws):
    return {raw.locator: settle(raw)[1] for raw in raws}


def line(**fields):
    return json.dumps(fields).encode() + b"\n"


GOOD = [line(id=f"g{number}", text=f"good text {number}") for number in range(3)]
BAD_LINES = {
    "one bad byte": (b'{"id":"b","text":"caf\xe9"}\n', "ingest.utf8"),
    "truncated": (b'{"id":"b","te\n', "ingest.json"),
    "not an object": (b'["b"]\n', "ingest.json"),
    "two objects": (b'{"text":"a"} {"text":"b"}\n', "ingest.json"),
    "NaN": (b'{"id":"b","text":"a","score":NaN}\n', "ingest.json"),
    "deep": (b"[" * 5000 + b"\n", "ingest.json"),
    "no text": (b'{"id":"b"}\n', "ingest.empty"),
    "null text": (b'{"id":"b","text":null}\n', "ingest.empty"),
    "empty text": (b'{"id":"b","text":""}\n', "ingest.empty"),
    "white space": (b'{"id":"b","text":" \\u00a0\\n"}\n', "ingest.empty"),
    "text of numbers": (b'{"id":"b","text":[1]}\n', "ingest.empty"),
    "lone surrogate": (b'{"id":"b","text":"\\ud83d"}\n', "ingest.utf8"),
    "NUL in the text": (b'{"id":"b","text":"a\\u0000b"}\n', "ingest.utf8"),
    "NUL in the id": (b'{"id":"b\\u0000","text":"a"}\n', "ingest.utf8"),
    "nested id": (b'{"id":{"a":1},"text":"a"}\n', "ingest.json"),
    "true as label": (b'{"id":"b","text":"a","label":true}\n', "ingest.json"),
    "too large": (line(id="b", text="x" * (LIMIT + 1)), "ingest.too_large"),
    "too large in UTF-8": (line(id="b", text="é" * (LIMIT // 2 + 1)), "ingest.too_large"),
    "a very long line": (b'{"id":"b","text":"' + b"x" * 1_200_000 + b'"}\n', "ingest.too_large"),
}


@pytest.mark.parametrize("name", BAD_LINES)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_bad_line_is_a_record_and_harms_no_neighbour(tmp_path, name, place):
    bad, rule = BAD_LINES[name]
    (tmp_path / "x.jsonl").write_bytes(b"".join(GOOD))
    before = {(raw.locator, raw.text) for raw in read(tmp_path / "x.jsonl")}
    (tmp_path / "x.jsonl").write_bytes(b"".join([*GOOD[:place], bad, *GOOD[place:]]))
    found = read(tmp_path / "x.jsonl")
    good = {(raw.locator, raw.text) for raw in found if not settle(raw)[1]}
    assert good == before
    assert [settle(raw)[1] for raw in found if settle(raw)[1]] == [rule]
    assert len(found) == 4


def test_details_quote_nothing(tmp_path):
    (tmp_path / "x.jsonl").write_bytes(b"".join(bad.replace(b"caf", b"secretword") for bad, _ in BAD_LINES.values()))
    assert not [raw.detail for raw in read(tmp_path / "x.jsonl") if "secretword" in raw.detail]


LINE = st.one_of(
    st.binary(max_size=40).filter(lambda data: b"\n" not in data),
    st.dictionaries(
        st.sampled_from(["id", "text", "licence", "label", "uri"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.text(max_size=3)),
    ).map(lambda row: json.dumps(row).encode()),
    st.sampled_from([b"", b" ", b"\t\r", b'{"text":"a"}', b'{"text":"\\ud800"}', b"\xef\xbb\xbf{}"]),
)


@given(st.lists(LINE, max_size=8))
def test_any_bytes_give_one_record_for_every_line_that_is_not_blank(data):
    counted = []
    found = list(read_json_lines(iter([b"\n".join(data)]), "x", RowReader({}, None, LIMIT), counted.append))
    blank = [not row.removeprefix(b"\xef\xbb\xbf" if place == 0 else b"").strip() for place, row in enumerate(data)]
    assert len(found) == sum(counted) == blank.count(False)
    for raw in found:
        text, rule, _, _ = settle(raw)
        assert (text is None) == bool(rule)


@given(st.lists(st.dictionaries(st.sampled_from(["id", "text", "label"]), st.text(max_size=9)), max_size=6))
def test_rows_mean_the_same_in_json_lines_and_in_csv(rows):
    import csv

    rows = [{"id": "", "text": "", "label": "", **row} for row in rows]
    rows = [row for row in rows if not any("\0" in value or "\r" in value for value in row.values())]
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, ["id", "text", "label"], quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    reader = RowReader({}, None, LIMIT)
    from_csv = read_csv(iter([out.getvalue().encode()]), "x", reader, lambda n: None, ",")
    from_json = read_json_lines(iter([b"\n".join(map(orjson.dumps, rows))]), "x", reader, lambda n: None)
    keys = ("locator", "text", "label", "rule")
    assert [[getattr(raw, key) for key in keys] for raw in from_csv] == [
        [getattr(raw, key) for key in keys] for raw in from_json
    ]


CSV_FAULTS = {
    "too few": (b"b,x\n", "ingest.json"),
    "too many": (b"b,x,y,z\n", "ingest.json"),
    "a quote that never closes": (b'b,"x,y\n', "ingest.json"),
    "a quote in the middle": (b'b,"x"y,z\n', "ingest.json"),
    "a bad byte": (b"b,\xff,y\n", "ingest.utf8"),
    "a bad byte in quotes": (b'b,"\xe9\n",y\n', "ingest.utf8"),
    "empty": (b"b,,y\n", "ingest.empty"),
    "too large": (b"b," + b"x" * (LIMIT + 1) + b",y\n", "ingest.too_large"),
    "far too large": (b"b," + b"x" * 1_100_000 + b",y\n", "ingest.too_large"),
}


@pytest.mark.parametrize("name", CSV_FAULTS)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_bad_csv_row_is_a_record_and_harms_no_neighbour(tmp_path, name, place):
    bad, rule = CSV_FAULTS[name]
    good = [b'1,"one\nline",a\n', b'2,"say ""hi""",b\n', b"3,three,c\n"]
    (tmp_path / "x.csv").write_bytes(b"id,text,label\n\n" + b"".join([*good[:place], bad, *good[place:]]))
    found = read(tmp_path / "x.csv")
    kept = [(raw.locator, raw.text, raw.label) for raw in found if not raw.rule]
    assert kept == [("1", "one\nline", "a"), ("2", 'say "hi"', "b"), ("3", "three", "c")]
    assert [raw.rule for raw in found if raw.rule] == [rule]


def parquet(table, **options):
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def test_parquet(tmp_path):
    strings = pa.array(["one", None, "three", ""])
    not_utf8 = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"], pa.binary()).buffers())
    text = pa.concat_arrays([strings, not_utf8])
    table = pa.table({"id": [1, 2, 3, 4, 5], "text": text, "license": pa.array([["MIT"], None, [], ["a", "b"], None])})
    (tmp_path / "x.parquet").write_bytes(parquet(table, row_group_size=2))
    found = read(tmp_path / "x.parquet", licence="CC0-1.0")
    assert [(raw.text, raw.rule) for raw in found] == [
        ("one", ""), (None, "ingest.empty"), ("three", ""), (None, "ingest.empty"), (None, "ingest.utf8"),
    ]  # fmt: skip
    assert [raw.locator for raw in found] == ["1", "2", "3", "4", "x.parquet"]
    assert found[0].evidence == (("name", "MIT"),)
    assert found[2].evidence == (("expression", "CC0-1.0"),)
    assert found[4].content() == b"\xff\xfe"


@pytest.mark.parametrize(
    "kind_", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_parquet_text_of_every_arrow_type(tmp_path, kind_):
    table = pa.table({"text": pa.array(["a", "b", "a"]).cast(kind_)})
    (tmp_path / "x.parquet").write_bytes(parquet(table))
    assert [raw.text for raw in read(tmp_path / "x.parquet")] == ["a", "b", "a"]


def test_a_broken_row_group_costs_its_own_rows(tmp_path):
    table = pa.table({"id": [str(n) for n in range(300)], "text": [f"text {n} " * 9 for n in range(300)]})
    data = bytearray(parquet(table, row_group_size=100, compression="zstd", write_page_checksum=True))
    column = pq.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(1).column(1)
    start = column.dictionary_page_offset or column.data_page_offset
    middle = start + column.total_compressed_size // 2
    data[middle : middle + 8] = b"\xff" * 8
    (tmp_path / "x.parquet").write_bytes(bytes(data))
    found = read(tmp_path / "x.parquet")
    assert [raw.locator for raw in found if not raw.rule] == [str(n) for n in [*range(100), *range(200, 300)]]
    assert {raw.rule for raw in found if raw.rule} == {"ingest.truncated"}
    assert len(found) == 300


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1 not a footer PAR1", parquet(pa.table({"text": ["a"]}))[:-20]])
def test_a_parquet_file_without_a_footer_is_one_record(tmp_path, data):
    (tmp_path / "x.parquet").write_bytes(data)
    (raw,) = read(tmp_path / "x.parquet")
    assert (raw.locator, raw.rule, raw.size) == ("x.parquet#tail", "ingest.truncated", len(data))


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zstandard.compress)])
def test_truncated_compressed_files(tmp_path, suffix, pack):
    rows = b"".join(line(id=str(n), text=os.urandom(40).hex()) for n in range(5000))
    packed = pack(rows)
    (tmp_path / f"x.jsonl{suffix}").write_bytes(packed)
    whole = read(tmp_path / f"x.jsonl{suffix}")
    (tmp_path / f"x.jsonl{suffix}").write_bytes(packed[: len(packed) // 2])
    *kept, tail = read(tmp_path / f"x.jsonl{suffix}")
    assert 1000 < len(kept) < 4000
    assert kept == whole[: len(kept)]
    assert (tail.locator, tail.rule) == (f"x.jsonl{suffix}#tail", "ingest.truncated")
    assert "bytes after the last whole line" in tail.detail
    (tmp_path / f"y.txt{suffix}").write_bytes(packed[:-5])
    (text,) = read(tmp_path / f"y.txt{suffix}")
    assert (text.text, text.rule) == (None, "ingest.truncated")


def test_a_folder_of_texts(tmp_path):
    texts = {
        "b/two.md": "# Two",
        "a.txt": "caf\u00e9",
        "b/one.rst": "One\r\n",
        "z.TXT": "upper",
        "b/mark.txt": "\ufeffx",
    }
    for name, text in {**texts, ".hidden.txt": "no", ".git/x.md": "no", "x.py": "no"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, newline="")
    (tmp_path / "bad.txt").write_bytes(b"\xff")
    (tmp_path / "nothing.txt").write_bytes(b"")
    (tmp_path / "long.txt").write_bytes(b"x" * (LIMIT + 1))
    found = read(tmp_path, licence="CC-BY-4.0")
    assert [raw.locator for raw in found] == sorted([*texts, "bad.txt", "nothing.txt", "long.txt"])
    assert {raw.locator: raw.text for raw in found if not settle(raw)[1]} == texts | {"b/mark.txt": "x"}
    assert {key: rule for key, rule in rules(found).items() if rule} == {
        "bad.txt": "ingest.utf8", "nothing.txt": "ingest.empty", "long.txt": "ingest.too_large",
    }  # fmt: skip
    assert {raw.evidence for raw in found} == {(("expression", "CC-BY-4.0"),)}


def test_columns_and_licence_evidence(tmp_path):
    rows = [
        {"key": 7, "body": "a", "license": "MIT", "licence_url": "https://x.org/l", "url": "http://o", "lang": "de"},
        {"body": "b", "license": "https://creativecommons.org/licenses/by/4.0/", "source": "other", "label": 3.5},
        {"body": "c", "license": "x" * 201, "group": "g"},
        {"body": "d", "license": ["MIT", " ", "ISC"]},
        {"body": "e", "license": " "},
    ]
    (tmp_path / "x.jsonl").write_bytes(b"".join(line(**row) for row in rows))
    columns = {"id": "key", "text": "body", "uri": "url", "language": "lang"}
    a, b, c, d, e = read(tmp_path / "x.jsonl", columns=columns, licence="CC0-1.0")
    assert (a.locator, a.uri, a.language, a.evidence) == (
        "7", "http://o", "de", (("name", "MIT"), ("url", "https://x.org/l")),
    )  # fmt: skip
    assert (b.locator, b.uri, b.source, b.label) == ("x.jsonl", "x.jsonl#2", "other", "3.5")
    assert b.evidence == (("url", "https://creativecommons.org/licenses/by/4.0/"),)
    assert (c.evidence, c.group) == ((("text", "x" * 201),), "g")
    assert d.evidence == (("name", "MIT"), ("name", "ISC"))
    assert e.evidence == (("expression", "CC0-1.0"),)


def test_urls_globs_folders_and_single_files_name_the_same_records(tmp_path):
    memory = fsspec.filesystem("memory")
    files = {"a.jsonl": GOOD[0], "sub/b.jsonl": GOOD[1]}
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
        memory.pipe(f"/corpus/{name}", data)
    texts = [(raw.locator, raw.uri, raw.text) for raw in read(tmp_path)]
    assert texts == [("g0", "a.jsonl#g0", "good text 0"), ("g1", "sub/b.jsonl#g1", "good text 1")]
    for path in (
        f"{tmp_path}/",
        f"file://{tmp_path}",
        "memory://corpus",
        f"{tmp_path}/**/*.jsonl",
        "memory://corpus/**",
    ):
        assert [(raw.locator, raw.uri, raw.text) for raw in read(path)] == texts, path
    (one,) = read(tmp_path / "a.jsonl")
    (other,) = read(f"{tmp_path}/a.j*")
    assert one == other
    assert (
        open_source(Files(name="s", path=str(tmp_path))).digest()
        == open_source(Files(name="s", path="memory://corpus")).digest()
    )


def test_the_digest_is_of_the_bytes_their_names_and_the_recipe(tmp_path):
    def digest(**config):
        return open_source(Files(name="s", path=str(tmp_path), **config)).digest()

    (tmp_path / "x.jsonl").write_bytes(GOOD[0])
    first = digest()
    os.utime(tmp_path / "x.jsonl", (1, 1))
    (tmp_path / "passed.over").write_bytes(b"x")
    assert digest() == first
    assert digest(licence="MIT") != first
    assert digest(columns={"text": "body"}) != first
    assert digest(maximum_text_bytes=5) != first
    (tmp_path / "x.jsonl").write_bytes(GOOD[1])
    assert digest() != first
    (tmp_path / "x.jsonl").write_bytes(GOOD[0])
    (tmp_path / "x.jsonl").rename(tmp_path / "y.jsonl")
    assert digest() != first


def test_what_is_not_there_is_said_in_one_line(tmp_path):
    (tmp_path / "x.json").write_text("[]")
    (tmp_path / "x.csv").write_text("id,body\n1,a\n")
    (tmp_path / "x.parquet").write_bytes(parquet(pa.table({"body": ["a"]})))
    (tmp_path / "empty").mkdir()
    for path, message in [
        (tmp_path / "none.jsonl", "no such file"),
        (tmp_path / "*.txt", "matches no file"),
        (tmp_path / "x.json", "kind of file"),
        (tmp_path / "empty", "no file here"),
        (tmp_path / "x.csv", "no column 'text'"),
        (tmp_path / "x.parquet", "no column 'text'"),
        ("nowhere://x", "kind of URL"),
    ]:
        with pytest.raises(UserError, match=message) as caught:
            read(path)
        assert caught.value.where
        assert caught.value.hint


def test_kinds():
    assert kind("a/b.JSONL.gz") == (".jsonl", ".gz")
    assert kind("a.b.parquet") == (".parquet", "")
    assert kind("a.parquet.gz") == kind("a.gz") == kind("a") == kind("a.json") == ("", "")
