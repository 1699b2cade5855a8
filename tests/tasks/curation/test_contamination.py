"""Items of evaluation sets in records: against the definition, and planted leaks under changed case and punctuation."""

import json
import random
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_policies.decide import decide
from data_policies.schema import Contamination as Thresholds
from data_policies.schema import Licences, Policy
from tasks.curation.contamination import Contamination, Items
from tasks.curation.ingest import source_digests
from tasks.curation.protected import read_items
from tasks.curation.shingles import jaccard, shingles, words
from tasks.curation.sources import Files
from tasks.curation.steps import protected_stage
from tasks.errors import UserError
from tasks.home import Home

N = 6


def scorer(texts, n=N, name="quiz"):
    return Contamination([Items(name, tuple(f"quiz#{i}" for i in range(len(texts))), tuple(texts))], n)


def score(found, texts):
    return found.score(pa.table({"text": pa.array(texts, pa.large_string())})).to_pylist()


def grams(tokens, n):
    return {tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}


def naive(items, text, n=N):
    """(shared n-grams with the best item, similarity with the nearest), one item after the other."""
    cut, tokens = [words(item) for item in items], words(text)
    common = Counter(gram for item in cut for gram in grams(item, n))
    template = {gram for gram, count in common.items() if count > max(3, 0.01 * len(items))}
    shared, near = 0, 0.0
    for item, source in zip(cut, items, strict=True):
        if len(item) >= n:
            own = grams(item, n)
            shared = max(shared, len((own - template or own) & grams(tokens, n)))
        elif len(item) >= 5 or (item and len(source) >= 30):
            shared = max(shared, int(tuple(item) in grams(tokens, len(item))))
        elif item:
            shared = max(shared, int(item == tokens))
        if len(item) >= 5 and len(tokens) >= 5:
            near = max(near, jaccard(shingles(source), shingles(text)))
    return shared, near if near >= 0.5 else 0.0


TEXTS = st.lists(st.sampled_from(["a", "b", "Mill", "grinds,", "who", "Ä"]), max_size=16).map(" ".join)


@settings(max_examples=80)
@given(st.lists(TEXTS, min_size=1, max_size=7), st.lists(TEXTS, min_size=1, max_size=4))
def test_agrees_with_the_definition(items, texts):
    for text, row in zip(texts, score(scorer(items), texts), strict=True):
        found = row["contamination.quiz.ngrams"], row["contamination.quiz.similarity"]
        assert found == pytest.approx(naive(items, text))
        assert (row["contamination.quiz.item"] != "") == any(found)


def prose(random_, count):
    return " ".join(random_.choice(VOCABULARY) for _ in range(count))


VOCABULARY = [a + b + c for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "n", "r", "st", "mer", "lo")]


def test_planted_leaks_are_found_and_nothing_else():
    r = random.Random(3)
    items = [f"Question {i}: {prose(r, r.randint(5, 60))}?" for i in range(300)]
    found = scorer(items, 13)
    leaks, clean = [], []
    for item in items:
        changed = item.upper().replace(" ", "\n  ", 3).replace("?", " ...").replace(" ", ", ", 2)
        leaks.append(f"{prose(r, 40)}. {changed} {prose(r, 40)}")
        clean += [
            f"{prose(r, 30)} {' '.join(item.split()[2:14])} {prose(r, 30)}" if len(item.split()) > 20 else "",
            prose(r, 80),
        ]
    rows = score(found, leaks)
    assert [row["contamination.quiz.item"] for row in rows] == [f"quiz#{i}" for i in range(300)]
    rows = score(found, clean)  # twelve words of an item are no 13-gram
    assert not any(row["contamination.quiz.ngrams"] or row["contamination.quiz.similarity"] for row in rows)


def test_the_sets_own_wording_is_no_leak():
    template = "Which one of the following four statements about the history of mills is true"
    items = [f"{template}: {prose(random.Random(i), 20)}" for i in range(40)]
    rows = score(scorer(items, 13), [f"{template}, they ask, and nobody knows.", items[7]])
    assert rows[0]["contamination.quiz.ngrams"] == 0
    assert rows[1]["contamination.quiz.item"] == "quiz#7"


def test_short_items_and_scripts_without_blanks():
    items = ["Paris", "Who built the old mill?", "谁在河边建造了古老的磨坊，并且在那里磨面粉供给整个村庄的人们食用？"]
    texts = ["Paris is a city.", "paris!", "They ask: who built the OLD mill? Nobody.", f"问题：{items[2]}答案。", None]
    rows = score(scorer(items, 13), texts)
    assert [row["contamination.quiz.item"] for row in rows] == ["", "quiz#0", "quiz#1", "quiz#2", None]
    assert [row["contamination.quiz.ngrams"] for row in rows] == [0, 1, 1, 1, None]


def test_an_edited_copy_is_near():
    r = random.Random(5)
    item = prose(r, 100).split()
    copy = [*item]
    copy[25] = copy[50] = copy[75] = "changed"
    rows = score(scorer([" ".join(item)], 30), [" ".join(copy)])
    assert 0.7 < rows[0]["contamination.quiz.similarity"] < 0.8


def test_the_batch_does_not_matter_and_the_config_names_the_items():
    r = random.Random(6)
    items = [prose(r, 20) for _ in range(5)]
    texts = [*items, "", None, prose(r, 9)]
    one, other = scorer(items), scorer([*items[:4], items[4] + "x"])
    assert score(one, texts) == [row for text in texts for row in score(one, [text])]
    assert one.config() == scorer(items).config() != other.config()
    assert one.score(pa.table({"text": pa.array([], pa.large_string())})).schema == one.schema


def test_the_policy_decides_and_names_the_item():
    table = pa.table(
        {"record_id": list("0123"), "error.contamination": ["", "", "", "ValueError"],
         "contamination.quiz.ngrams": [0.0, 2.0, 0.0, None], "contamination.quiz.similarity": [0.0, 0.1, 0.85, None],
         "contamination.quiz.item": ["", "quiz#1", "quiz#2", None]}
    )  # fmt: skip
    policy = {"name": "t", "version": 1, "owner": "t", "reason": "t", "licences": Licences(allow=("MIT",))}
    rows = decide(table, Policy(**policy), ("contamination",)).to_pylist()
    assert [(row["verdict"], row["rule"], row["detail"]) for row in rows] == [
        ("keep", None, None),
        ("drop", "contamination.quiz", "quiz#1"),
        ("drop", "contamination.quiz", "quiz#2"),
        ("quarantine", "error.contamination", "ValueError"),
    ]
    loose = Policy(**policy, contamination=Thresholds(ngrams=3, similarity=0.9))
    assert decide(table, loose, ("contamination",))["verdict"].to_pylist() == ["keep", "keep", "keep", "quarantine"]


def test_items_come_from_the_sources_of_a_corpus_and_none_is_lost(tmp_path):
    lines = [{"id": "a", "text": "Who built the old mill?"}, {"id": "b", "text": "And who tore it down?"}]
    path = tmp_path / "quiz.jsonl"

    def protect(*written):
        path.write_text("".join(json.dumps(line) + "\n" for line in written))
        sets = [Files(name="quiz", path=str(path))]
        return protected_stage(Home.at(str(tmp_path / "home")), sets, source_digests(sets))

    stage = protect(*lines)
    [items] = read_items(stage)
    assert items.name == "quiz"
    assert sorted(zip(items.ids, items.texts, strict=True)) == [
        (f"quiz.jsonl#{line['id']}", line["text"]) for line in lines
    ]
    assert protect(*lines).reused
    assert not protect(lines[0], lines[1] | {"text": "And who tore it up?"}).reused
    with pytest.raises(UserError, match="1 items of the protected set 'quiz' cannot be read"):
        protect(lines[0], {"id": "c", "text": " "})
