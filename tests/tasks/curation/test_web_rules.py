"""The Gopher, C4 and FineWeb measures: datatrove's verdicts on own texts, plain definitions, and other languages."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_policies.decide import decide
from data_policies.measures import MEASURES
from data_policies.schema import Bounds, Licences, Policy
from tasks.curation import quality as module
from tasks.curation.languages import Languages
from tasks.curation.quality import SETS, Quality
from tasks.curation.tokenised import Tokenised
from tasks.curation.web_rules import TERMINAL
from tasks.curation.words import words

WEB = ("c4", "fineweb", "gopher-quality", "gopher-repetition")
#: Texts and the rules by which datatrove 0.10.1 refuses each, every rule asked alone.
_LINES = (Path(__file__).parent / "cases" / "web_rules.jsonl").read_text(encoding="utf-8").split("\n")
CASES = [json.loads(line) for line in _LINES if line]


def policy(**quality):
    quality = quality or dict.fromkeys(WEB, "canonical")
    return Policy(name="t", version=1, owner="t", reason="t", licences=Licences(allow=("MIT",)), quality=quality)


def score(texts, sets=WEB):
    return Quality(sets).score(pa.table({"text": pa.array(texts, pa.large_string())}))


def verdicts(texts, asked, language=None, error=None):
    """Verdict and rules of each text under the quality rules of `asked`, in languages that the model tells."""
    table = score(texts, tuple(asked.quality)).append_column("record_id", pa.array([str(i) for i in range(len(texts))]))
    told = Languages().score(pa.table({"text": texts}))["language"] if language is None else pa.array(language)
    table = table.append_column("language", told)
    table = table.append_column("error.quality", pa.array([""] * len(texts)))
    table = table.append_column("error.languages", pa.array(error or [""] * len(texts)))
    found = decide(table, asked, ("quality",))
    return list(zip(found["verdict"].to_pylist(), found["rules"].to_pylist(), strict=True))


def test_verdicts_are_those_of_datatrove_rule_by_rule():
    texts = [case["text"] for case in CASES]
    found = verdicts(texts, policy(), ["en"] * len(texts))
    for case, (verdict, rules) in zip(CASES, found, strict=True):
        assert {rule.removeprefix("quality.") for rule in rules} == set(case["refused"]), case["text"][:200]
        assert verdict == ("drop" if case["refused"] else "keep")
    bounded = {
        f"{name}.{measure}"
        for name in WEB
        for measure, own in MEASURES[name].items()
        if (own.low, own.high) != (None, None)
    }
    assert {rule for case in CASES for rule in case["refused"]} == bounded  # each is seen to refuse


def test_a_set_measures_what_the_policy_may_name():
    for name in SETS:
        assert len(Quality((name,)).score(pa.table({"text": ["a b."]})).column_names) == len(MEASURES[name])


TEXTS = st.lists(
    st.sampled_from(
        ["The mill grinds.", "- grain to flour", "• bread...", "…", "", " ", "wait…", "# head", "A {b}.",
         "Lorem ipsum is.", "We use cookies.", "It is said [12].", 'He said "so"', "x" * 1001 + " is long.",
         "Two words.", "の。", "to be of."]
    ),
    max_size=9,
).map("\n".join)  # fmt: skip


@settings(max_examples=80)
@given(TEXTS)
def test_line_measures_by_their_definitions(text):
    row = score([text]).to_pylist()[0]
    lines, cut = text.splitlines(), words(text)
    share = lambda part, whole: part / whole if whole else 0.0  # noqa: E731
    bullets = [line for line in lines if line.lstrip().startswith(("-", "•"))]
    ends = [line for line in lines if line.rstrip().endswith(("...", "…"))]
    assert row["quality.gopher-quality.bullet_line_ratio"] == share(len(bullets), len(lines))
    assert row["quality.gopher-quality.ellipsis_line_ratio"] == share(len(ends), len(lines))
    assert row["quality.gopher-quality.hash_word_ratio"] == share(text.count("#"), len(cut))
    assert row["quality.gopher-quality.stop_words"] == len(
        {"the", "be", "to", "of", "and", "that", "have", "with"} & set(cut)
    )
    paragraphs = re.split(r"\n{2,}", text.strip())
    repeated = sum(part in paragraphs[:at] for at, part in enumerate(paragraphs))
    assert row["quality.gopher-repetition.duplicate_paragraph_ratio"] == repeated / len(paragraphs)
    solid = [line for line in text.split("\n") if line.strip()]
    assert row["quality.fineweb.terminal_line_ratio"] == share(sum(line[-1] in TERMINAL for line in solid), len(solid))
    assert row["quality.fineweb.newline_word_ratio"] == share(text.count("\n"), len(cut))
    assert row["quality.c4.curly_bracket_lines"] == 0
    assert row["quality.c4.lorem_ipsum_lines"] == lines.count("Lorem ipsum is.")


def sentences(line):
    """spaCy's sentencizer, word by word."""
    import unicodedata

    count, seen = 0, False
    for word in words(line):
        stop = word in ("!", ".", "?", "。")
        other = not stop and not all(unicodedata.category(c).startswith("P") for c in word)
        if count == 0 or (seen and other):
            count, seen = count + 1, False
        if stop:
            seen = True
    return count


@given(st.lists(st.lists(st.sampled_from(["a", ".", "?", "'", "...", "b.", "e.g.", "(c)."]), max_size=8).map(" ".join)))
def test_sentences_of_lines(lines):
    text = "\n".join(lines)
    assert Tokenised([text]).sentences_L().tolist() == [sentences(line) for line in text.splitlines()]


@settings(max_examples=40)
@given(
    st.lists(st.one_of(st.none(), TEXTS, st.text(st.characters(exclude_categories=["Cs"]), max_size=30)), max_size=8),
    st.integers(0, 8),
)
def test_measures_do_not_depend_on_what_is_measured_beside(texts, cut):
    whole = score(texts, ("basic", *WEB)).to_pylist()
    assert whole == score(texts[:cut], ("basic", *WEB)).to_pylist() + score(texts[cut:], ("basic", *WEB)).to_pylist()
    for text, row in zip(texts, whole, strict=True):
        assert all((value is None) == (text is None) for value in row.values())
        assert text is None or all(np.isfinite(value) for value in row.values())


def test_long_texts_are_measured_alone(monkeypatch):
    monkeypatch.setattr(module, "PIECE_CHARACTERS", 50)
    texts = ["the mill grinds " * n for n in (1, 9, 0, 2, 1)]
    assert score(texts).to_pylist() == [score([text]).to_pylist()[0] for text in texts]


THAI = "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม และควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ"
CHINESE = (
    "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以"
    "兄弟关系的精神相对待。人人有资格享有本宣言所载的一切权利和自由。"
)
JAPANESE = (
    "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権"
    "利とについて平等である。人間は、理性と良心とを授けられている。"
)
GERMAN = (
    "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt und "
    "sollen einander im Geist der Brüderlichkeit begegnen. Jeder hat Anspruch auf die Rechte und Freiheiten dieser "
    "Erklärung. Niemand darf in Sklaverei gehalten werden. Jeder hat das Recht auf Leben, Freiheit und Sicherheit. "
    "Niemand darf willkürlich festgenommen, in Haft gehalten oder des Landes verwiesen werden."
)
ENGLISH_WITHOUT_STOP_WORDS = "Mill stones grind golden winter grain into fine white flour every single morning. " * 9


def test_a_text_in_another_language_is_not_asked_for_english_words():
    asked = policy(**{"gopher-quality": "canonical"})
    found = verdicts([THAI, CHINESE, JAPANESE, GERMAN, ENGLISH_WITHOUT_STOP_WORDS], asked)
    assert found[:4] == [("keep", [])] * 4
    assert found[4] == ("drop", ["quality.gopher-quality.stop_words"])
    blind = verdicts([THAI, CHINESE, JAPANESE, GERMAN], asked, ["en"] * 4)  # what an English tool makes of them
    assert all(verdict == "drop" for verdict, _ in blind)


def test_german_is_asked_what_is_not_about_english():
    asked = policy(**{"gopher-quality": "canonical"})
    assert verdicts([GERMAN[:80]], asked) == [("drop", ["quality.gopher-quality.words"])]


def test_a_policy_narrows_a_rule_to_languages():
    bounds = {"words": Bounds(min=50, languages=("en", "th")), "stop_words": Bounds(min=1, languages=("de",))}
    asked = policy(**{"gopher-quality": bounds})
    short = "Zu kurz."
    assert verdicts([short, short, THAI], asked, ["de", "en", "th"]) == [
        ("keep", []),  # stop words are English ones: nothing is left of a rule for German
        ("drop", ["quality.gopher-quality.words"]),
        ("keep", []),  # words between blanks are not counted in Thai, whatever a policy says
    ]


def test_not_asked_is_not_missing():
    asked = policy(**{"gopher-quality": {"stop_words": Bounds(min=2)}})
    table = pa.table(
        {"record_id": ["0", "1", "2", "3"], "language": ["th", "en", None, "en"],
         "error.languages": ["", "", "ValueError", ""], "error.quality": ["", "", "", "ValueError"],
         "quality.gopher-quality.stop_words": pa.array([None, None, 9.0, None], pa.float64())}
    )  # fmt: skip
    found = decide(table, asked, ("quality",)).to_pylist()
    assert [(row["verdict"], row["rule"]) for row in found] == [
        ("keep", None),  # not asked
        ("quarantine", "error.quality"),  # missing
        ("quarantine", "error.languages"),  # who knows whether it is asked
        ("quarantine", "error.quality"),
    ]


@pytest.mark.parametrize("text", ["", " \n\t ", "\0", "=" * 5000, "a" * 200_000, "\u2028".join("abc")])
def test_odd_texts(text):
    row = score([text]).to_pylist()[0]
    assert all(value is not None and np.isfinite(value) for value in row.values())
