"""Personal data: what is found, what is no finding, and that nothing is left once it is redacted."""

import hashlib
import hmac
import html
import json
import pickle
import threading

import pii_cases
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.curation import pii
from tasks.curation.pii import Pii
from tasks.curation.pii_numbers import IBAN_LENGTHS, luhn
from tasks.curation.pii_patterns import PATTERNS, digest
from tasks.curation.pii_redaction import placeholder, pseudonym, redact
from tasks.curation.pii_views import normalised, replaced

KEY = b"0123456789abcdef0123456789abcdef"
EVERY = Pii(KEY)
PEOPLE = Pii(KEY, reserved=False)
ALL = {pattern.type: "redact" for pattern in PATTERNS}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def found(text: str, scanner: Pii = EVERY) -> list[tuple[str, str]]:
    return [(span["type"], text[span["start"] : span["end"]]) for span in scanner.find(text)]


def join(*parts: str) -> str:
    """Secrets are put together here, so that no scanner takes this file for a leak."""
    return "".join(parts)


GITHUB = join("gh", "p_", "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7cF0xR6uI3")
FINDINGS = [
    # text, type, what is marked
    ("Write to joe.doe+x@gmail.com.", "email", "joe.doe+x@gmail.com"),
    ("(jane.doe@example.com)", "email", "jane.doe@example.com"),
    ("Jane.Doe@Example.COM", "email", "Jane.Doe@Example.COM"),
    ("mailto:x@y.de?subject=1", "email", "x@y.de"),
    ("<a@b.co.uk>", "email", "a@b.co.uk"),
    ("user=joe@site.com&x", "email", "joe@site.com"),
    ("bounce+joe=site.com@lists.org", "email", "bounce+joe=site.com@lists.org"),
    ("John.O'Neil@site.ie", "email", "John.O'Neil@site.ie"),
    ("联系abc@qq.com请", "email", "abc@qq.com"),
    ("é.ü@münchen.de", "email", "é.ü@münchen.de"),
    ("1234+joe@users.noreply.github.com", "email", "1234+joe@users.noreply.github.com"),
    ("joe [at] site [dot] org", "email", "joe [at] site [dot] org"),
    ("joe.doe (AT) site.org", "email", "joe.doe (AT) site.org"),
    ("joe at site dot org", "email", "joe at site dot org"),
    ("joe{at}mail{dot}site{dot}org", "email", "joe{at}mail{dot}site{dot}org"),
    ("joe@gmail&#46;com", "email", "joe@gmail&#46;com"),
    ("joe&commat;gmail&period;com", "email", "joe&commat;gmail&period;com"),
    ("joe%40gmail.com", "email", "joe%40gmail.com"),
    ("jo\u200be@gm\u00adail.com", "email", "jo\u200be@gm\u00adail.com"),
    ("ｊｏｅ＠ｇｍａｉｌ．ｃｏｍ", "email", "ｊｏｅ＠ｇｍａｉｌ．ｃｏｍ"),
    ("call +1 202 555 0143 now", "phone", "+1 202 555 0143"),
    ("+12025550143", "phone", "+12025550143"),
    ("+44 (0)20 7946 0958", "phone", "+44 (0)20 7946 0958"),
    ("+33 1 23 45 67 89", "phone", "+33 1 23 45 67 89"),
    ("00 49 30 901820", "phone", "00 49 30 901820"),
    ("555-123-4567", "phone", "555-123-4567"),
    ("(555) 123-4567 x12", "phone", "(555) 123-4567 x12"),
    ("1-800-555-1234", "phone", "1-800-555-1234"),
    ("212.555.1234", "phone", "212.555.1234"),
    ("Tel.: 020 7946 0958", "phone", "020 7946 0958"),
    ("Fax 01 23 45 67 89", "phone", "01 23 45 67 89"),
    ("TÉL : 01 23 45 67 89", "phone", "01 23 45 67 89"),
    ("phone: 2025550143", "phone", "2025550143"),
    ("电话号码：010-6552 9988", "phone", "010-6552 9988"),
    ("２０２-５５５-０１４３", "phone", "２０２-５５５-０１４３"),
    ("202\u2011555\u20110143", "phone", "202\u2011555\u20110143"),
    ("from 81.2.69.142", "ip", "81.2.69.142"),
    ("host 8.8.8.8", "ip", "8.8.8.8"),
    ("http://81.2.69.142/x", "ip", "81.2.69.142"),
    ("192.168.1.77", "ip", "192.168.1.77"),
    ("2a00:1450:4001:81b::200e", "ip", "2a00:1450:4001:81b::200e"),
    ("2001:db8::8a2e:370:7334", "ip", "2001:db8::8a2e:370:7334"),
    ("[2606:4700:4700::1111]:443", "ip", "2606:4700:4700::1111"),
    ("fe80::1ff:fe23:4567:890a", "ip", "fe80::1ff:fe23:4567:890a"),
    ("card 4111 1111 1111 1111 12/27", "card", "4111 1111 1111 1111"),
    ("4111111111111111.", "card", "4111111111111111"),
    ("12 5555-5555-5555-4444 123", "card", "5555-5555-5555-4444"),
    ("1234 4111 1111 1111 1111", "card", "4111 1111 1111 1111"),
    ("card=378282246310005", "card", "378282246310005"),
    ("3782 822463 10005", "card", "3782 822463 10005"),
    ("４１１１ １１１１ １１１１ １１１１", "card", "４１１１ １１１１ １１１１ １１１１"),
    ("IBAN GB82 WEST 1234 5698 7654 32 and", "iban", "GB82 WEST 1234 5698 7654 32"),
    ("DE89370400440532013000", "iban", "DE89370400440532013000"),
    ("AB12 DE89 3704 0044 0532 0130 00", "iban", "DE89 3704 0044 0532 0130 00"),
    ("fr1420041010050500013m02606", "iban", "fr1420041010050500013m02606"),
    (
        join("postgres://joe:", "pa55@db.acme.com:5432/x"),
        "credentials_url",
        join("postgres://joe:", "pa55@db.acme.com:5432"),
    ),
    (join("redis://:", "hunter2@cache"), "credentials_url", join("redis://:", "hunter2@cache")),
    (join("id AKIA", "IOSFODNN7EXAMPLE."), "secret", join("AKIA", "IOSFODNN7EXAMPLE")),
    (join("token=", GITHUB), "secret", GITHUB),
    (join("xox", "b-123456789012-abcdefABCDEF"), "secret", join("xox", "b-123456789012-abcdefABCDEF")),
]
NO_FINDINGS = """
logo@2x.png | pkg@1.2.3 | left-pad@1.3.0 | @types/node@18.1 | @foo.bar | @app.route("/x") | A@B.T | x @ y.z | A@B.shape
x@w.name(1) | git@github.com:org/repo.git | ssh://git@gitlab.com/org/repo | look at gmail.com | meet at noon
me@localhost
user@host | a@b | @@ -1,7 +1,6 @@ | foo@@bar.com@ | http://{user}:{pw}@h.com | https://host:8080/p@x | a:b@c
v1.2.3.4 | version 10.20.30.40 | Version: 91.20.30.41 | section 3.2.1.4 | 1.3.6.1.4.1.311 | ==21.33.4.50
Chrome/91.0.447.124
256.300.1.2 | 81.2.69.142.5 | 3.2.1.4 The end | 127.0.0.1 | 0.0.0.0 | 255.255.255.0 | 10.0.0.0/8 | ::1 | 12:34:56 | a::b
std::vector | Face::Add | x[1::2] | x[2000::2] | 2001:db8::/32 | dead::beef
2024-01-02 03:04:05.123456 | 1700000000000 | 978-0-306-40615-7 | 0-306-40615-2 | 3.14159265358979 | 0.4111111111111111
d41d8cd98f00b204e9800998ecf8427e | 550e8400-e29b-41d4-a716-446655440000 | 4111 1111 1111 1112 | 0000 0000 0000 0000
1234567890123456 | 4111-1111 1111-1111 | GB82 WEST 1234 5698 7654 33 | XX82 WEST 1234 5698 7654 32
DE8937040044053201300
+0000 | +01:00 | 1e+10 | a +1 b | x + 12 + 345 | 123-45-6789 | 100-200-3000 | phone 12 | call f(1, 2) | tel 2024-01-02
call 3.14159265 | 1,234,567,890 | $555.123.4567 | hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
AKIAXXXXXXXXXXXXXXXX | sk-learn | ghp_short
""".replace("\n", " | ").split(" | ")
NOBODY = [
    "joe@example.com",
    "a@b.test",
    "x@host.local",
    "no-reply@github.com",
    "192.168.1.77",
    "203.0.113.9",
    "2001:db8::1",
]


@pytest.mark.parametrize(("text", "kind", "marked"), FINDINGS)
def test_is_found(text, kind, marked):
    assert found(text) == [(kind, marked)]
    assert found(f"\0🙂 {text} end\n") == [(kind, marked)]


@pytest.mark.parametrize("text", [text for text in NO_FINDINGS if text.strip()])
def test_is_no_finding(text):
    assert found(text) == []


@pytest.mark.parametrize("text", NOBODY)
def test_what_belongs_to_nobody_can_be_left_out(text):
    assert len(found(text)) == 1
    assert found(text, PEOPLE) == []


def test_a_private_key_is_one_span_with_or_without_its_end():
    begin, end = join("-----BEGIN RSA ", "PRIVATE KEY-----"), join("-----END RSA ", "PRIVATE KEY-----")
    assert found(f"x\n{begin}\nMIIabc+/=\nQ-2\n{end}\ny") == [("secret", f"{begin}\nMIIabc+/=\nQ-2\n{end}")]
    body = f"{begin}\n{'MIIabc+/' * 8}\n{'Q' * 64}\nQQQ="
    assert found(f"{body}\n{{cut}}") == [("secret", body)]
    assert found(f"a line {begin} starts a key, joe@site.com") == [("secret", begin), ("email", "joe@site.com")]


def test_the_most_specific_wins_and_the_place_is_the_union():
    url = join("https://joe:", "x@site.com")
    assert found(f"see {url}/p") == [("credentials_url", url)]
    assert found("4111111111111111@bank.com") == [("card", "4111111111111111@bank.com")]


@pytest.mark.parametrize("country", sorted(IBAN_LENGTHS))
def test_ibans_of_every_country(country):
    body = ("AB12" + "3456789012345678901234567890")[: IBAN_LENGTHS[country] - 4]
    digits = "".join(str(int(sign, 36)) for sign in f"{body}{country}00")
    iban = f"{country}{98 - int(digits) % 97:02d}{body}"
    assert found(f"to {iban}, please") == [("iban", iban)]
    wrong = f"{iban[:-1]}{(int(iban[-1]) + 1) % 10}"
    assert ("iban", wrong) not in found(f"to {wrong}, please")


@given(st.integers(0, 10**15 - 1))
def test_luhn_agrees_with_the_definition(number):
    body = f"{number:015d}"
    # The naive rule: double every second digit from the right of the whole number, add the digits of the products.
    total = sum(sum(map(int, str(int(d) * (2 if i % 2 == 0 else 1)))) for i, d in enumerate(reversed(body)))
    assert [luhn(f"{body}{check}") for check in range(10)] == [(total + check) % 10 == 0 for check in range(10)]


CASES = [(case.text, *case.spans[0]) for case in pii_cases.read() if len(case.spans) == 1]
VALUES = st.sampled_from(FINDINGS + [(text, kind, text[start:end]) for text, kind, start, end in CASES])


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(TEXT, VALUES), max_size=4), TEXT)
def test_nothing_is_left_after_redaction(parts, tail):
    text = "".join(f"{between}\n{value[0]}\n" for between, value in parts) + tail
    spans = EVERY.find(text)
    edges = [edge for span in spans for edge in (span["start"], span["end"])]
    assert edges == sorted(edges)
    assert all(0 <= span["start"] < span["end"] <= len(text) for span in spans)
    clean = redact(text, spans, ALL)
    assert EVERY.find(clean) == []
    assert not any(value[2] in clean for _, value in parts)
    if not spans:
        assert clean == text


FRAGMENTS = [
    "+1",
    "202",
    "555",
    "0143",
    "4111",
    "1111",
    "81.2.69",
    ".142",
    "joe",
    "@",
    "b.de",
    "[at]",
    " dot ",
    "DE89",
    "3704",
    "0044",
]
FRAGMENTS += [
    "0532",
    "0130",
    "00",
    " ",
    "-",
    ".",
    ":",
    "::",
    "2a00",
    "tel",
    "<PHONE>",
    "SSN",
    "PESEL",
    "passport",
    "536-90-4399",
    "44051401359",
    "00:1a:2b:3c:",
    "4d:5e",
    "key=",
    "9f3cA7b2K1mQ8zX4",
    "&#64;",
    "\u200b",
    "１",
    "/",
    "(",
    ")",
    "\n",
    "x",
]


@settings(deadline=None, max_examples=400)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=24))
def test_redaction_is_idempotent_on_near_misses(fragments):
    text = "".join(fragments)
    assert EVERY.find(redact(text, EVERY.find(text), ALL)) == []


@settings(deadline=None, max_examples=200)
@given(st.one_of(TEXT, VALUES.map(lambda v: v[0]), st.lists(st.sampled_from(FRAGMENTS), max_size=16).map("".join)))
def test_the_prefilter_loses_nothing(text):
    def everything(raw):
        return {rank: list(range(len(raw) + 1)) for rank in range(len(PATTERNS) + 1)}

    expected = EVERY.find(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pii, "prefilter", everything)
        exact = EVERY.find(text)
    # Decoding an entity, a digit of another script or a dash matters only where the prefilter asks for it.
    if normalised(text).text == text:
        assert expected == exact


@given(TEXT)
def test_views_know_where_each_character_is_from(text):
    view = normalised(text)
    for index, sign in enumerate(view.text):
        start, end = view.span(index, index + 1)
        assert 0 <= start < end <= len(text)
        if text[start:end] == sign:
            continue
        assert sign.isascii() or sign in html.unescape(text[start:end])
    if text.isascii() and "&" not in text and "%" not in text:
        assert view.text == text


def test_views_over_views():
    view = replaced("a１b２c", [(1, 2, "<X>")])
    assert view.text == "a<X>b２c"
    plain = normalised(view.text, view)
    assert plain.text == "a<X>b2c"
    assert [plain.span(i, i + 1) for i in range(7)] == [(0, 1), (1, 2), (1, 2), (1, 2), (2, 3), (3, 4), (4, 5)]
    assert plain.span(2, 6) == (1, 4)


def test_one_value_has_one_hash_and_the_hash_is_keyed():
    spans = EVERY.find("Joe@Site.com joe@site.com joe [at] site [dot] com +1 (202) 555-0143 +12025550143")
    emails = {span["value_hmac"] for span in spans if span["type"] == "email"}
    phones = {span["value_hmac"] for span in spans if span["type"] == "phone"}
    assert [span["type"] for span in spans] == ["email"] * 3 + ["phone"] * 2
    assert emails == {hmac.new(KEY, b"email\0joe@site.com", hashlib.sha256).hexdigest()[:32]}
    assert phones == {hmac.new(KEY, b"phone\0+12025550143", hashlib.sha256).hexdigest()[:32]}
    assert Pii(b"another").find("joe@site.com")[0]["value_hmac"] not in emails


def test_the_key_stays_out_of_the_config():
    config = EVERY.config()
    assert config["key_id"] == hashlib.sha256(KEY).hexdigest()[:16]
    assert config["patterns"] == digest()
    assert KEY.decode() not in json.dumps(config)
    assert Pii(b"other").config() != config != PEOPLE.config()
    with pytest.raises(ValueError, match="empty"):
        Pii(b"")


def table(texts: list[str | None]) -> pa.Table:
    return pa.table({"text": pa.array(texts, pa.large_string())})


@settings(deadline=None, max_examples=50)
@given(st.lists(st.one_of(st.none(), TEXT, VALUES.map(lambda v: v[0])), max_size=10), st.integers(0, 10))
def test_the_batch_split_does_not_matter(texts, cut):
    whole = EVERY.score(table(texts))
    assert whole.schema == Pii.schema
    parts = [EVERY.score(table(texts).slice(0, cut)), EVERY.score(table(texts).slice(cut))]
    assert whole.to_pylist() == pa.concat_tables(parts).to_pylist()
    assert [row["spans"] for row in whole.to_pylist()] == [[] if text is None else EVERY.find(text) for text in texts]


def test_threads_and_pickles_agree():
    texts = [text for text, *_ in FINDINGS] * 3
    expected = EVERY.score(table(texts))
    results = []
    scanner = pickle.loads(pickle.dumps(EVERY))  # noqa: S301 - Ray carries scorers so
    threads = [threading.Thread(target=lambda: results.append(scanner.score(table(texts)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(result.equals(expected) for result in results)
    assert len(results) == 4


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "1",
        "1 ",
        "a@",
        "@a.",
        "+1",
        "::",
        "a:",
        "1.",
        "&",
        "&#",
        "tel ",
        "(",
        "\u200b",
        "DE89",
        " at ",
        "[at]",
        "eyJ",
        "://a:",
        "-----BEGIN PRIVATE KEY-----",
        "ssn ",
        "PESEL 1",
        "passport: ",
        "password=",
        "key='a1",
        "00:1a:",
        "0x",
        "bc1q",
        "1A",
        "01 23 ",
        "\\nA",
        "[.]",
    ],
)
def test_a_long_line_of_anything_is_scanned(unit):
    text = unit * (200_000 // len(unit)) + " joe@site.com"
    assert found(text)[-1] == ("email", "joe@site.com")


def test_redact_by_action():
    text = "joe@site.com and +12025550143"
    spans = EVERY.find(text)
    assert redact(text, spans, {"email": "redact", "phone": "keep"}) == "<EMAIL> and +12025550143"
    assert redact(text, [span | {"action": "redact"} for span in spans]) == "<EMAIL> and <PHONE>"
    assert redact(text, spans) == text  # no action given yet
    assert redact(text, [], ALL) == text
    assert placeholder("credentials_url") == "<CREDENTIALS_URL>"


@settings(deadline=None, max_examples=150)
@given(st.lists(st.one_of(VALUES.map(lambda v: v[0]), st.sampled_from(FRAGMENTS), TEXT), max_size=12))
def test_nothing_is_found_in_a_pseudonymised_text(parts):
    text = " ".join(parts)
    spans = EVERY.find(text)
    clean = redact(text, spans, dict.fromkeys(ALL, "pseudonymise"))
    assert EVERY.find(clean) == []
    for span in spans:
        assert clean.count(pseudonym(span["type"], span["value_hmac"])) >= 1


def test_a_pseudonym_is_the_same_for_the_same_value_and_key():
    text = "Joe@Site.com, joe [at] site [dot] com; ann@site.com"
    spans = EVERY.find(text)
    first, second, other = (pseudonym("email", span["value_hmac"]) for span in spans)
    assert first == second != other
    assert first == f"<EMAIL_{hmac.new(KEY, b'email' + bytes(1) + b'joe@site.com', hashlib.sha256).hexdigest()[:8]}>"
    assert redact(text, spans, {"email": "pseudonymise"}) == f"{first}, {first}; {other}"
    assert pseudonym("email", Pii(b"another").find(text)[0]["value_hmac"]) != first


@pytest.mark.parametrize("span", [{"value_hmac": None}, {"value_hmac": ""}, {"value_hmac": "joe"}])
def test_without_a_hash_there_is_no_pseudonym(span):
    with pytest.raises(ValueError, match="no keyed hash"):
        redact("0123456789", [{"type": "ip", "start": 0, "end": 3, "action": "pseudonymise", **span}])


def test_an_action_that_does_not_exist_keeps_nothing():
    with pytest.raises(ValueError, match="no action is named 'hide'"):
        redact("joe@site.com", EVERY.find("joe@site.com"), {"email": "hide"})


@pytest.mark.parametrize("places", [[(0, 3), (2, 5)], [(4, 99)], [(3, 3)], [(-1, 2)]])
def test_redact_refuses_impossible_spans(places):
    with pytest.raises(ValueError, match="overlaps another or lies outside"):
        redact("0123456789", [{"type": "ip", "start": a, "end": b, "action": "redact"} for a, b in places])
