"""Quality measures against a naive reference and on scripts without blanks."""

import pickle
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_policies.measures import MEASURES
from tasks.curation.quality import Quality, Text
from tasks.errors import UserError

TEXTS = st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=60)), max_size=12)


def score(texts: list[str | None]) -> list[dict]:
    return Quality().score(pa.table({"text": pa.array(texts, pa.large_string())})).to_pylist()


def basic(text: str) -> dict[str, float]:
    return {name.removeprefix("quality.basic."): value for name, value in score([text])[0].items()}


def naive(text: str) -> dict[str, float]:
    """The definition again, for ASCII: slow and plain."""
    visible = [c for c in text if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf")]
    # Control characters end a word, as blanks do.
    spaced = "".join(" " if unicodedata.category(c) == "Cc" else c for c in text)
    words = [stripped for run in spaced.split() if (stripped := "".join(c for c in run if c.isalnum()))]
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    seen: set[str] = set()
    repeated = 0
    for line in lines:
        repeated += line in seen
        seen.add(line)
    signs = [c for c in visible if not c.isalnum() and c not in ".,;:!?'\"()-"]
    return {
        "words": float(len(words)),
        "letter_ratio": sum(c.isalpha() for c in visible) / len(visible) if visible else 0.0,
        "mean_word_length": sum(map(len, words)) / len(words) if words else 0.0,
        "duplicate_line_ratio": repeated / len(lines) if lines else 0.0,
        "symbol_ratio": len(signs) / len(visible) if visible else 0.0,
    }


@given(st.text(st.characters(max_codepoint=127), max_size=200))
def test_ascii_agrees_with_the_definition(text):
    assert basic(text) == naive(text)


def test_an_english_text():
    measured = basic("The mill grinds.\nThe mill grinds.\n\n  x = a_b + 1 \n")
    assert measured["words"] == 9  # The mill grinds, twice; x, a_b, 1
    assert measured["duplicate_line_ratio"] == pytest.approx(1 / 3)
    assert measured["symbol_ratio"] == pytest.approx(3 / 35)


@pytest.mark.parametrize("text", ["", " \n\t", "\0", "\u200b"])
def test_a_text_without_anything_visible_has_zeros(text):
    assert set(basic(text).values()) == {0.0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("人人生而自由，在尊严和权利上一律平等。", 8.5),
        ("すべての人間は、生まれながらにして自由であり", 10.5),
        ("มนุษย์ทั้งหลายเกิดมามีอิสระ", 4.0),
        ("모든 인간은 태어날 때부터 자유로우며", 5.0),
        ("सभी मनुष्यों को गौरव", 4.0),
        ("כל בני האדם נולדו", 4.0),
        ("Ärger über Öl", 3.0),
    ],
)
def test_scripts(text, words):
    measured = basic(text)
    assert measured["words"] == pytest.approx(words)
    assert measured["letter_ratio"] > 0.85
    assert 1.5 <= measured["mean_word_length"] <= 10


def test_a_chinese_text_with_an_english_word_counts_both():
    measured = basic("我们使用 Python 编程")
    assert measured["words"] == 4.0
    assert measured["mean_word_length"] == 6.0  # of the words between blanks


def test_emoji_and_signs_are_symbols():
    assert basic("🙂🙂 ok")["symbol_ratio"] == 0.5
    assert basic("+++ ---")["symbol_ratio"] == 0.5  # a hyphen is punctuation


@given(TEXTS, st.integers(0, 12))
def test_the_batch_split_does_not_matter(texts, cut):
    assert score(texts) == score(texts[:cut]) + score(texts[cut:])


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_ratios_are_ratios(text):
    measured = basic(text)
    assert all(0 <= value <= 1 for name, value in measured.items() if name.endswith("ratio"))
    assert measured["words"] >= 0
    assert (measured["words"] == 0) == (measured["mean_word_length"] == 0)
    assert measured["letter_ratio"] + measured["symbol_ratio"] <= 1 + 1e-9


def test_a_null_text_has_nulls_and_a_long_line_is_measured():
    rows = score([None, "ab " * 400_000])
    assert set(rows[0].values()) == {None}
    assert rows[1]["quality.basic.words"] == 400_000.0


def test_columns_config_and_pickle():
    scorer = pickle.loads(pickle.dumps(Quality(("basic", "basic"))))  # noqa: S301 - Ray carries scorers so
    assert scorer.schema.names == [f"quality.basic.{name}" for name in MEASURES["basic"]]
    assert all(field.type == pa.float64() for field in scorer.schema)
    assert scorer.config()["sets"] == {"basic": 1}
    assert scorer.score(pa.table({"text": pa.array([], pa.large_string())})).schema == scorer.schema


def test_an_unknown_set_is_the_users_error():
    with pytest.raises(UserError, match="unknown quality set 'gofer'") as error:
        Quality(("gofer",))
    assert "basic" in error.value.hint


def test_invisible_characters_do_not_split_words():
    assert Text("soft\u00adhyphen zero\u200bwidth").spaced_words == 2
