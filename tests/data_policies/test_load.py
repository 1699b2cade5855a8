"""Policies: what ships is valid; what is wrong in a user's own is said in one line."""

import pickle

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from data_policies.load import PolicyError, load_policy, shipped, validate
from data_policies.obligations import obligations
from data_policies.schema import Policy
from data_policies.spdx import admitted, rank

MINIMAL = "name: mine\nversion: 1\nowner: me\nreason: because\nlicences:\n  allow: [MIT]\n"


def load(tmp_path, text: str) -> Policy:
    path = tmp_path / "policy.yaml"
    path.write_text(text, encoding="utf-8")
    return load_policy(path)


def test_what_ships():
    assert list(shipped()) == ["open-definition", "open-images", "open-pairs", "open-speech", "strict"]
    for name in shipped():
        policy = load_policy(name)
        assert policy.name == name
        assert len(set(policy.licences.allow)) == len(policy.licences.allow)
        assert policy.review_by is not None
        assert (policy.languages is None) == bool(policy.audio or policy.images)  # too short to tell their language
        assert policy.toxicity is not None


def test_strict_asks_nothing_and_is_within_open_definition_but_for_public_domain_texts():
    strict, wide = (load_policy(name).licences.allow for name in ("strict", "open-definition"))
    assert {obligations(name) for name in strict} == {""}
    assert set(strict) - set(wide) == {
        "WTFPL",
        "blessing",
        "SAX-PD",
        "SAX-PD-2.0",
        "NIST-PD",
        "Unlicense-libtelnet",
        "Unlicense-libwhirlpool",
    }


@pytest.mark.parametrize(
    ("expression", "wide", "strict"),
    [
        ("CC0-1.0", True, True),
        ("MIT", True, False),
        ("Apache-2.0 WITH LLVM-exception", True, False),
        ("CC-BY-4.0", True, False),
        ("CC-BY-SA-3.0", True, False),
        ("ODbL-1.0", True, False),
        ("GPL-3.0-or-later", True, False),
        ("LAL-1.3", True, False),
        ("GFDL-1.3-no-invariants-or-later", True, False),
        ("GFDL-1.3-or-later", False, False),
        ("GFDL-1.3-invariants-only", False, False),
        ("CC-BY-NC-4.0", False, False),
        ("CC-BY-ND-4.0", False, False),
        ("CC-BY-NC-SA-3.0", False, False),
        ("BUSL-1.1", False, False),
        ("SSPL-1.0", False, False),
        ("JSON", False, False),
        ("LicenseRef-Proprietary", False, False),
        ("", False, False),
        ("MIT AND CC-BY-NC-4.0", False, False),
        ("GPL-1.0-or-later OR Artistic-1.0-Perl", True, False),
        ("MIT-0 OR GPL-3.0-only", True, True),
    ],
)
def test_what_the_shipped_policies_admit(expression, wide, strict):
    assert admitted(expression, load_policy("open-definition").licences.allow) is wide
    assert admitted(expression, load_policy("strict").licences.allow) is strict


def test_open_definition_ranks_by_obligations():
    allow = load_policy("open-definition").licences.allow
    order = ["CC0-1.0", "MIT", "CC-BY-4.0", "MPL-2.0", "CC-BY-SA-4.0", "GPL-3.0-only"]
    assert sorted(order, key=lambda name: rank(name, allow)) == order
    weights = [obligations(name).count(",") + bool(obligations(name)) for name in allow]
    assert weights[:9] == [0] * 9
    assert max(weights[9:60]) < 3


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (
            ("reason:", "raeson:"),
            "unknown key 'raeson' (and 1 more)",
            "did you mean 'reason'? allowed: ",
        ),
        (("[MIT]", "[MTI]"), "licences.allow: unknown SPDX identifier 'MTI'", "did you mean 'MIT'"),
        (("[MIT]", "[mit]"), "licences.allow: unknown SPDX identifier 'mit'", "did you mean 'MIT'?"),
        (("[MIT]", "[GPL-2.0]"), "licences.allow: unknown SPDX identifier 'GPL-2.0'", "did you mean 'GPL-2.0-only'?"),
        (("[MIT]", "[MIT OR ISC]"), "licences.allow: unknown SPDX identifier 'MIT OR ISC'", "one by one: MIT, ISC"),
        (("[MIT]", "[]"), "licences.allow: ", ""),
        (("[MIT]", "MIT"), "licences.allow: ", ""),
        (("version: 1", "version: 0"), "version: Input should be greater than or equal to 1", ""),
        (("owner: me\n", ""), "the key 'owner' is missing", ""),
        (
            ("", "pii: {email: redakt}\n"),
            "pii.email: Input should be 'keep', 'redact', 'pseudonymise' or 'drop'",
            "allowed: 'keep'",
        ),
        (("", "pii: {emial: redact}\n"), "unknown key 'pii.emial'", "did you mean 'email'? allowed: address, "),
        (
            ("", "languages: {allow: [en], minimum_scor: 1}\n"),
            "unknown key 'languages.minimum_scor'",
            "did you mean 'minimum_score'? allowed: allow, minimum_score",
        ),
        (
            ("", "quality: {basic: {words: {mim: 5}}}\n"),
            "unknown key 'quality.basic.words.mim'",
            "did you mean 'min'? allowed: languages, max, min",
        ),
        (
            ("", "toxicity: {thresholds: {toxic: 0.5}}\n"),
            "unknown key 'toxicity.thresholds.toxic'",
            "did you mean 'toxicity'?",
        ),
        (("", "duplicates: {threshold: 80}\n"), "duplicates.threshold: Input should be less than or equal to 1", ""),
        (("", "review_by: tomorrow\n"), "review_by: ", ""),
        (("", "owner: you\n"), "the key 'owner' is given twice", ""),
        (("", "pii: {email: drop, email: keep}\n"), "the key 'email' is given twice", ""),
        (("", "pii: [\n"), "expected the node content", ""),
        (("", "gates: !!python/object/apply:os.getcwd []\n"), "could not determine a constructor", ""),
    ],
)
def test_one_line_says_what_is_wrong(tmp_path, change, message, hint):
    text = MINIMAL.replace(*change) if change[0] else MINIMAL + change[1]
    with pytest.raises(PolicyError) as caught:
        load(tmp_path, text)
    error = caught.value
    assert error.message.startswith(message)
    assert hint in error.hint
    assert "policy.yaml" in error.where
    assert "\n" not in error.message + error.where + error.hint


@pytest.mark.parametrize("text", ["", "[]", "just words", "42", "null"])
def test_a_policy_is_a_mapping(tmp_path, text):
    with pytest.raises(PolicyError, match="mapping"):
        load(tmp_path, text)


def test_names_and_paths(tmp_path):
    for name, message, hint in (
        ("open-definitoin", "no policy is named", "did you mean 'open-definition'?"),
        ("zzz", "no policy is named", "shipped: open-definition, open-images, open-pairs, open-speech, strict"),
        (tmp_path / "none.yaml", "does not exist", ""),
        (tmp_path, "folder", ""),
    ):
        with pytest.raises(PolicyError, match=message) as caught:
            load_policy(name)
        assert hint in caught.value.hint
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(PolicyError, match="UTF-8"):
        load_policy(tmp_path / "latin.yaml")


def test_comments_and_key_order_do_not_change_the_digest(tmp_path):
    one = load(tmp_path, MINIMAL)
    other = load(
        tmp_path,
        "# a comment\n"
        + "".join(reversed(MINIMAL.splitlines(keepends=True)[:4]))
        + "licences:\n  allow: [MIT]  # and why\n",
    )
    assert one.sha256() == other.sha256()
    assert one.sha256() != load(tmp_path, MINIMAL.replace("version: 1", "version: 2")).sha256()


def test_errors_survive_a_process_boundary():
    copy = pickle.loads(pickle.dumps(PolicyError("a", "b", "c")))  # noqa: S301 - our own bytes
    assert (copy.message, copy.where, copy.hint, str(copy)) == ("a", "b", "c", "b: a")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=8) | st.sampled_from(["allow", "words", "email", "model"]), inner, max_size=3
        )
    ),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(
        [*yaml.safe_load(MINIMAL), "pii", "languages", "quality", "toxicity", "gates", "duplicates", "new"]
    ),
    JUNK,
)
def test_whatever_a_policy_holds_it_is_valid_or_a_policy_error(key, value):
    try:
        policy = validate(yaml.safe_load(MINIMAL) | {key: value}, "here")
    except PolicyError as error:
        assert error.where == "here"  # noqa: PT017 - either outcome is right
    else:
        assert len(policy.sha256()) == 64
