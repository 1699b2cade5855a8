"""Duplicates against a naive O(n^2) reading of contract 10."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import re
import subprocess
import sys
import threading
import unicodedata
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.curation import blocks, duplicates, minhash
from tasks.curation.duplicates import Similar, elect, election_order, find_pairs, jaccard, read_pairs, shingles, words
from tasks.curation.minhash import bands_for
from tasks.curation.records import Engine

WORDS = [f"w{i}" for i in range(5000)]


@cache
def naive_words(text: str) -> list[str]:
    return [token for token in re.split(r"\W+", unicodedata.normalize("NFC", text).lower()) if token]


@cache
def naive_shingles(text: str) -> set[tuple[str, ...]]:
    tokens = naive_words(text)
    if 0 < len(tokens) < 5:
        return {tuple(tokens)}
    return {tuple(tokens[i : i + 5]) for i in range(len(tokens) - 4)}


def naive_jaccard(a: str, b: str) -> float:
    one, other = naive_shingles(a), naive_shingles(b)
    return len(one & other) / len(one | other) if one and other else 0.0


def name_of(text: str, salt: object = "") -> str:
    return hashlib.sha256(f"{text}\0{salt}".encode()).hexdigest()[:32]


def table_of(texts: list[str]) -> pa.Table:
    names = [name_of(text, i) for i, text in enumerate(texts)]
    return pa.table({"record_id": names, "text": pa.array(texts, pa.large_string())})


def records_of(table: pa.Table, **columns: list) -> pa.Table:
    texts = table["text"].to_pylist()
    given = {
        "record_id": table["record_id"],
        "licence_rank": pa.array([0] * len(texts), pa.int64()),
        "quality": pa.array([1.0] * len(texts), pa.float64()),
        "length": pa.array([len(text) for text in texts], pa.int64()),
        "written_sha256": [hashlib.sha256(text.encode()).hexdigest() for text in texts],
    }
    return pa.table(given | columns)


def naive_elect(records: pa.Table, texts: dict[str, str], threshold: float) -> list[dict]:
    """Contract 10 word by word, over all pairs."""
    rows = sorted(
        records.to_pylist(),
        key=lambda r: (
            r["licence_rank"],
            -(r["quality"] if r["quality"] is not None else -np.inf),
            -r["length"],
            r["record_id"],
        ),
    )
    kept: list[dict] = []
    removed = []
    for row in rows:
        best = None
        for place, other in enumerate(kept):
            tokens, others = naive_words(texts[row["record_id"]]), naive_words(texts[other["record_id"]])
            exact = row["written_sha256"] == other["written_sha256"] or (tokens == others and bool(tokens))
            similarity = 1.0 if exact else naive_jaccard(texts[row["record_id"]], texts[other["record_id"]])
            if exact or (similarity >= threshold and similarity > 0):
                found = (not exact, -similarity, place, other["record_id"])
                best = found if best is None else min(best, found)
        if best is None:
            kept.append(row)
        else:
            rule = "duplicate.near" if best[0] else "duplicate.exact"
            removed.append(
                {"record_id": row["record_id"], "rule": rule, "survivor_id": best[3], "similarity": -best[1]}
            )
    return sorted(removed, key=lambda r: r["record_id"])


def exhaustive(table: pa.Table) -> Similar:
    """Every pair of classes, found by looking at every pair."""
    found = find_pairs(table.slice(0, 0), 0.8)
    texts = dict(zip(table["record_id"].to_pylist(), table["text"].to_pylist(), strict=True))
    class_of = {name: name_of(" ".join(words(text))) if words(text) else "" for name, text in texts.items()}
    member = {group: texts[name] for name, group in class_of.items() if group}
    pairs = [(a, b, naive_jaccard(member[a], member[b])) for a, b in itertools.combinations(sorted(member), 2)]
    pairs = [(*pair, pair[2]) for pair in pairs if pair[2] > 0]
    columns = list(zip(*pairs, strict=True)) or [(), (), (), ()]
    return Similar(
        pa.table({"record_id": list(class_of), "class_id": list(class_of.values())}, schema=found.classes.schema),
        pa.table(dict(zip(("a", "b", "similarity", "distinctive"), columns, strict=True)), schema=found.pairs.schema),
    )


def planted(count: int, seed: int) -> tuple[list[str], list[tuple[int, int]]]:
    """`count` pairs of texts whose Jaccard index runs from 0.5 to 1, and nothing in common between pairs but words."""
    generator = random.Random(seed)
    texts: list[str] = []
    pairs = []
    for _ in range(count):
        length = generator.randint(30, 200)
        base = generator.choices(WORDS, k=length)
        changed = list(base)
        if generator.random() < 0.5:  # another tail
            same = generator.randint(int(0.67 * length), length)
            changed[same:] = generator.choices(WORDS, k=length - same)
        else:  # words changed here and there
            for at in generator.sample(range(length), max(1, length // generator.randint(20, 60))):
                changed[at] = generator.choice(WORDS)
        pairs.append((len(texts), len(texts) + 1))
        texts += [" ".join(base), " ".join(changed)]
    return texts, pairs


any_text = st.text(max_size=60) | st.lists(
    st.sampled_from(["a", "B", "é", "e\u0301", "İ", "_", ", ", "-", "1", "一", " "]), max_size=30
).map("".join)


@given(any_text)
def test_words_and_shingles_are_those_of_the_definition(text):
    assert words(text) == naive_words(text)
    assert shingles(text) == {" ".join(each) for each in naive_shingles(text)}


@given(any_text, any_text)
def test_jaccard_is_that_of_the_sets(a, b):
    assert jaccard(shingles(a), shingles(b)) == naive_jaccard(a, b) == jaccard(shingles(b), shingles(a))


@given(st.floats(min_value=0.05, max_value=1))
def test_the_bands_find_a_pair_at_the_threshold(threshold):
    bands, rows = bands_for(threshold)
    assert bands * rows == minhash.HASHES
    assert rows == 1 or 1 - (1 - threshold**rows) ** bands >= minhash.RECALL


@pytest.mark.parametrize("threshold", [0.8, 0.6])
def test_planted_pairs_are_found_and_nothing_else(threshold):
    texts, plan = planted(700, seed=7)
    table = table_of(texts)
    similar = find_pairs(table, threshold)
    class_of = dict(zip(*(similar.classes[name].to_pylist() for name in ("record_id", "class_id")), strict=True))
    text_of = {
        class_of[name]: text for name, text in zip(*(table[c].to_pylist() for c in ("record_id", "text")), strict=True)
    }
    found = {(row["a"], row["b"]): row["similarity"] for row in similar.pairs.to_pylist()}
    assert all(similarity == naive_jaccard(text_of[a], text_of[b]) >= 0.5 for (a, b), similarity in found.items())
    names = table["record_id"].to_pylist()
    wanted = [
        tuple(sorted((class_of[names[a]], class_of[names[b]])))
        for a, b in plan
        if naive_jaccard(texts[a], texts[b]) >= threshold and words(texts[a]) != words(texts[b])
    ]
    assert len(wanted) > 200
    assert sum(pair in found for pair in wanted) >= 0.98 * len(wanted)
    assert found.keys() <= {tuple(sorted((class_of[names[a]], class_of[names[b]]))) for a, b in plan}

    gone = elect(records_of(table), similar, threshold)
    removed = {row["record_id"]: row for row in gone.to_pylist()}
    by_id = dict(zip(names, texts, strict=True))
    assert all(row["similarity"] >= threshold for row in removed.values())
    assert all(
        naive_jaccard(by_id[name], by_id[row["survivor_id"]]) == row["similarity"] for name, row in removed.items()
    )
    assert not {row["survivor_id"] for row in removed.values()} & removed.keys()


def test_the_whole_way_against_the_naive_reading():
    texts, _ = planted(100, seed=9)
    table = table_of(texts + texts[:30])
    by_id = dict(zip(table["record_id"].to_pylist(), table["text"].to_pylist(), strict=True))
    found = elect(records_of(table), find_pairs(table, 0.8), 0.8).to_pylist()
    assert len(found) > 50
    assert found == naive_elect(records_of(table), by_id, 0.8)


def test_the_order_of_the_rows_does_not_matter():
    texts, _ = planted(60, seed=3)
    texts += texts[:20] + ["", "!!!", "one two", "One, two.", "one two three"]
    table = table_of(texts)
    shuffled = table.take(pa.array(np.random.default_rng(1).permutation(len(table))))
    one, other = find_pairs(table, 0.8), find_pairs(shuffled, 0.8)
    assert one.classes.equals(other.classes)
    assert one.pairs.equals(other.pairs)
    assert elect(records_of(table), one, 0.8).equals(elect(records_of(shuffled), other, 0.8))


def test_golden_output():
    """A change of what comes out needs a new VERSION, or an old stage would be taken for a new one."""
    texts, _ = planted(30, seed=13)
    table = table_of([*texts, *texts[:5], "", "A b, c"])
    similar = find_pairs(table, 0.8)
    parts = [similar.classes.to_pydict(), similar.pairs.to_pydict(), elect(records_of(table), similar, 0.8).to_pydict()]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    assert {duplicates.VERSION: digest} == {3: "15ecd3588dc16f5459dfc425b8aae71f9dfbd5894ccd5a3c0f3b9b5c55bc1c87"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_ray_finds_the_same_pairs():
    texts, _ = planted(150, seed=5)
    program = (
        "import json, sys, pyarrow as pa\n"
        "from tasks.curation.duplicates import find_pairs\n"
        "from tasks.curation.records import Engine\n"
        "given = json.load(sys.stdin)\n"
        "table = pa.table({'record_id': given['record_id'], 'text': pa.array(given['text'], pa.large_string())})\n"
        "similar = find_pairs(table, 0.8, Engine(ray_address='local'))\n"
        "json.dump([similar.classes.to_pylist(), similar.pairs.to_pylist()], sys.stdout)\n"
    )
    table = table_of(texts)
    done = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(table.to_pydict()), capture_output=True, text=True, check=True
    )
    similar = find_pairs(table, 0.8, Engine())
    assert json.loads(done.stdout.splitlines()[-1]) == [similar.classes.to_pylist(), similar.pairs.to_pylist()]


def test_short_and_empty_texts():
    texts = [
        "",
        "...",
        "one two",
        "One -- TWO!",
        "two one",
        "one two three four",
        "one two three four five",
        "one two three four FIVE",
    ]
    table = table_of(texts)
    similar = find_pairs(table, 0.5)
    assert similar.pairs.num_rows == 0
    gone = elect(records_of(table), similar, 0.5)
    names = table["record_id"].to_pylist()
    text_of = dict(zip(names, texts, strict=True))
    pairs = {frozenset((text_of[row["record_id"]], text_of[row["survivor_id"]])) for row in gone.to_pylist()}
    assert pairs == {
        frozenset(("one two", "One -- TWO!")),
        frozenset(("one two three four five", "one two three four FIVE")),
    }
    assert set(gone["rule"].to_pylist()) == {"duplicate.exact"}


def test_empty_input():
    similar = find_pairs(table_of([]), 0.8)
    assert similar.classes.num_rows == similar.pairs.num_rows == 0
    assert elect(records_of(table_of([])), similar, 0.8).num_rows == 0


def test_written_as_the_same_bytes_is_exact():
    texts = ["mail a@example.org now", "mail b@example.org now", "!!!", "???"]
    table = table_of(texts)
    digests = ["same", "same", "blank", "blank"]
    gone = elect(records_of(table, written_sha256=digests), find_pairs(table, 0.8), 0.8).to_pylist()
    names = table["record_id"].to_pylist()
    assert [row["rule"] for row in gone] == ["duplicate.exact"] * 2
    assert {frozenset((row["record_id"], row["survivor_id"])) for row in gone} == {
        frozenset(names[:2]),
        frozenset(names[2:]),
    }


def test_no_transitive_closure():
    """A ~ B ~ C with A and C far apart: B goes to the better of the two, C stays."""
    line = [f"x{i}" for i in range(116)]
    a, b, c = (" ".join(line[shift : shift + 100]) for shift in (0, 8, 16))
    assert naive_jaccard(a, b) >= 0.8
    assert naive_jaccard(b, c) >= 0.8
    assert naive_jaccard(a, c) < 0.8
    table = table_of([a, b, c])
    gone = elect(records_of(table, licence_rank=[0, 1, 2]), find_pairs(table, 0.8), 0.8).to_pylist()
    names = table["record_id"].to_pylist()
    assert [(row["record_id"], row["survivor_id"]) for row in gone] == [(names[1], names[0])]


def test_a_higher_threshold_needs_no_signing():
    texts, _ = planted(300, seed=11)
    table = table_of(texts)
    low, high = find_pairs(table, 0.7), find_pairs(table, 0.9)
    again = {row["record_id"] for row in elect(records_of(table), low, 0.9).to_pylist()}
    assert again >= {row["record_id"] for row in elect(records_of(table), high, 0.9).to_pylist()}


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from("ab"), min_size=0, max_size=9).map(" ".join)
            | st.sampled_from(["a b a b a b", "A-b a b a B"]),
            st.integers(0, 2),
            st.sampled_from([None, 0.1, 0.9, float("nan")]),
            st.sampled_from(["p", "q", None]),
        ),
        max_size=14,
    ),
    st.sampled_from([0.3, 0.5, 0.8, 1.0]),
)
@settings(max_examples=80, deadline=None)
def test_election_equals_the_naive_reading(rows, threshold):
    texts = [row[0] for row in rows]
    table = table_of(texts)
    names = table["record_id"].to_pylist()
    digests = [row[3] or name for row, name in zip(rows, names, strict=True)]
    quality = pa.array([row[2] for row in rows], pa.float64())
    records = records_of(
        table,
        licence_rank=pa.array([row[1] for row in rows], pa.int64()),
        quality=quality,
        written_sha256=pa.array(digests, pa.string()),
    )
    comparable = records.set_column(
        2, "quality", pa.array([None if q is None or q != q else q for q in quality.to_pylist()], pa.float64())
    )
    expected = naive_elect(comparable, dict(zip(names, texts, strict=True)), threshold)
    assert elect(records, exhaustive(table), threshold).to_pylist() == expected


def test_a_large_bucket_keeps_its_recall(monkeypatch):
    """A family of near-copies, each of another source, in one bucket: one survivor, and not all pairs are compared."""
    generator = random.Random(2)
    base = generator.choices(WORDS, k=300)
    texts = [" ".join(base[:60] + [f"name{i}"] + base[60:100]) for i in range(200)]
    table = table_of(texts).append_column("source", pa.array([f"{i}" for i in range(200)])).sort_by("record_id")
    records = records_of(table, licence_rank=generator.choices(range(4), k=200))
    order = election_order(records)
    monkeypatch.setattr(minhash, "ALL_PAIRS_UP_TO", 1000)
    everything = find_pairs(table, 0.8, order=order)
    assert everything.pairs.num_rows == 200 * 199 // 2
    monkeypatch.setattr(minhash, "ALL_PAIRS_UP_TO", 16)
    monkeypatch.setattr(minhash, "PIVOTS", 4)
    some = find_pairs(table, 0.8, order=order)
    assert some.pairs.num_rows < everything.pairs.num_rows / 2
    gone = elect(records, some, 0.8)
    assert gone.equals(elect(records, everything, 0.8))
    assert len(gone) == 199
    assert gone["survivor_id"].unique().to_pylist() == [table["record_id"][int(order[0])].as_py()]


def under_one_banner(bodies: int, copies: int, seed: int) -> tuple[list[str], list[tuple[int, int]]]:
    """Texts of one source with 400 words in common and bodies of their own, and near-copies of some: (texts, pairs)."""
    generator = random.Random(seed)
    banner = generator.choices(WORDS, k=400)
    texts, pairs = [], []
    for _ in range(bodies):
        texts.append(generator.choices(WORDS, k=generator.randint(40, 60)))
    for original in generator.sample(range(bodies), copies):
        body = list(texts[original])
        body[-generator.randint(1, 3) :] = generator.choices(WORDS, k=generator.randint(1, 3))
        pairs.append((original, len(texts)))
        texts.append(body)
    return [" ".join([*banner[:100], *body, *banner[100:]]) for body in texts], pairs


def test_a_banner_makes_no_duplicates_and_hides_none():
    texts, copies = under_one_banner(bodies=600, copies=60, seed=17)
    table = table_of(texts)
    names = table["record_id"].to_pylist()
    assert naive_jaccard(texts[0], texts[1]) > 0.7
    similar = find_pairs(table, 0.7)
    gone = elect(records_of(table), similar, 0.7).to_pylist()
    wanted = {frozenset((names[a], names[b])) for a, b in copies}
    pairs = {frozenset((row["record_id"], row["survivor_id"])) for row in gone}
    assert pairs <= wanted
    bare = [set(naive_shingles(text)) for text in texts]
    banner = set.intersection(*bare)
    own = [shingles - banner for shingles in bare]
    sure = {frozenset((names[a], names[b])) for a, b in copies if len(own[a] & own[b]) >= 0.7 * len(own[a] | own[b])}
    assert len(sure) > 40
    assert len(pairs & sure) >= 0.98 * len(sure)
    by_name = dict(zip(names, texts, strict=True))
    assert all(
        row["similarity"] == naive_jaccard(by_name[row["record_id"]], by_name[row["survivor_id"]]) for row in gone
    )


def test_what_is_boilerplate_is_asked_of_each_source():
    """The same texts from many sources: none has enough of them to call the banner its own, so they are near-copies."""
    texts, _ = under_one_banner(bodies=60, copies=0, seed=17)
    texts = [text.replace(" ", f" w{i} ", 1) for i, text in enumerate(texts)]
    one = table_of(texts)
    many = one.append_column("source", pa.array([f"s{i % 6}" for i in range(60)]))
    assert find_pairs(one, 0.7).pairs.num_rows == 0
    assert find_pairs(many, 0.7).pairs.num_rows > 60


def test_a_text_of_nothing_but_boilerplate_goes_for_another():
    generator = random.Random(3)
    banner = generator.choices(WORDS, k=100)
    texts = [" ".join([*banner, *generator.choices(WORDS, k=90)]) for _ in range(50)]
    texts += [" ".join(banner), " ".join(banner[:95])]
    table = table_of(texts)
    (row,) = elect(records_of(table), find_pairs(table, 0.8), 0.8).to_pylist()
    assert {row["record_id"], row["survivor_id"]} == set(table["record_id"].to_pylist()[-2:])


def test_blocks_of_a_file_are_blocks_of_a_table(tmp_path, monkeypatch):
    """Cut anywhere, read from disk, or with rows left out: the same pairs."""
    texts, _ = planted(120, seed=21)
    under, _ = under_one_banner(bodies=40, copies=8, seed=4)
    table = table_of([*texts, *texts[:9], *under]).sort_by("record_id")
    table = table.append_column("source", pa.array(["a", "b"] * (len(table) // 2) + ["a"] * (len(table) % 2)))
    extra = table_of(["noise " * 9] * 50).append_column("source", pa.array(["a"] * 50))
    whole = pa.concat_tables([table, extra]).sort_by("record_id")
    pq.write_table(whole, tmp_path / "t.parquet", row_group_size=17)
    wanted = np.asarray(pc.is_in(whole["record_id"], table["record_id"].combine_chunks()))
    one = find_pairs(table, 0.8)
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 50)
    for other in (find_pairs(table, 0.8), find_pairs(blocks.FileBlocks(tmp_path / "t.parquet", wanted), 0.8)):
        assert one.classes.equals(other.classes)
        assert one.pairs.equals(other.pairs)


def test_ten_thousand_copies_are_one_class():
    texts = ["the same words again and again"] * 10_000 + ["other words that nobody else wrote here"]
    similar = find_pairs(table_of(texts), 0.8)
    assert len(similar.classes["class_id"].unique()) == 2
    assert similar.pairs.num_rows == 0
    assert elect(records_of(table_of(texts)), similar, 0.8).num_rows == 9_999


def test_round_trip_and_progress(tmp_path):
    texts, _ = planted(40, seed=1)
    done: list[int] = []
    lock = threading.Lock()  # like a progress bar's: it cannot be pickled

    def progress(count: int) -> None:
        with lock:
            done.append(count)

    similar = find_pairs(table_of(texts), 0.8, progress=progress)
    assert sum(done) == len(texts)
    similar.write(tmp_path)
    again = read_pairs(tmp_path)
    assert again.classes.equals(similar.classes)
    assert again.pairs.equals(similar.pairs)
