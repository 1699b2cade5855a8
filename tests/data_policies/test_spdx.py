"""SPDX expressions: parsing, canonical form, admission."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_policies.spdx import (
    RESTRICTING,
    admitted,
    canonical,
    known_exceptions,
    known_identifiers,
    leaves,
    parse,
    rank,
    unknown_licences,
)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("mit", "MIT"),
        ("MIT OR MIT", "MIT"),
        ("gpl-2.0+", "GPL-2.0-or-later"),
        ("GPL-2.0", "GPL-2.0-only"),
        ("Apache-2.0+", "Apache-2.0"),
        ("GPL-2.0-with-classpath-exception", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("BSD-2-Clause-FreeBSD", "BSD-2-Clause-Views"),
        ("eCos-2.0 AND MIT", "GPL-2.0-or-later WITH eCos-exception-2.0 AND MIT"),
        ("wxWindows", "LGPL-2.0-or-later WITH WxWindows-exception-3.1"),
        ("MIT and (isc or mit)", "MIT AND (ISC OR MIT)"),
        ("LicenseRef-Acme OR MIT", "LicenseRef-Acme OR MIT"),
        ("DocumentRef-x:LicenseRef-y", "DocumentRef-x:LicenseRef-y"),
        *(
            (broken, "")
            for broken in (
                "",
                " ",
                "MIT AND",
                "OR",
                "(",
                "()",
                "MIT MIT",
                "MIT/ISC",
                "Nope",
                "MIT WITH",
                "MIT WITH ISC",
                "MIT WITH Nope",
                "Classpath-exception-2.0",
                "GPL",
                "GPL OR MIT",
                "LicenseRef-",
                "LicenseRef-a_b",
                "NONE",
                "MIT\\x00",
                "MIT " * 2000,
            )
        ),
    ],
)
def test_canonical(expression, expected):
    assert canonical(expression) == expected
    assert (parse(expression) is None) == (expected == "")


@pytest.mark.parametrize(
    ("expression", "allow", "expected"),
    [
        ("MIT AND ISC", ["MIT"], False),
        ("MIT AND ISC", ["MIT", "ISC"], True),
        ("MIT OR Nokia", ["MIT"], True),
        ("MIT OR Nope", ["MIT"], False),
        ("(MIT OR GPL-2.0-only) AND ISC", ["MIT", "ISC"], True),
        ("(MIT OR GPL-2.0-only) AND ISC", ["MIT"], False),
        ("GPL-2.0-only WITH Classpath-exception-2.0", ["GPL-2.0-only WITH Classpath-exception-2.0"], True),
        ("GPL-2.0-only WITH Classpath-exception-2.0", ["GPL-2.0-only"], True),
        ("GPL-2.0-only", ["GPL-2.0-only WITH Classpath-exception-2.0"], False),
        ("GPL-2.0-only WITH freertos-exception-2.0", ["GPL-2.0-only"], False),
        ("GPL-2.0-only WITH freertos-exception-2.0", ["GPL-2.0-only WITH freertos-exception-2.0"], True),
        ("Apache-2.0 WITH LicenseRef-scancode-commons-clause", ["Apache-2.0"], False),
        ("GPL-2.0-or-later", ["GPL-2.0-only"], False),
        ("LicenseRef-Acme", ["MIT"], False),
        ("LicenseRef-Acme", ["LicenseRef-Acme"], True),
        ("", ["MIT"], False),
        ("MIT", [], False),
    ],
)
def test_admission(expression, allow, expected):
    assert admitted(expression, allow) is expected


def test_unknown_licences():
    asked = [
        "MIT",
        "mit",
        "MIT OR ISC",
        "GPL-2.0",
        "LicenseRef-x",
        "Nope",
        "",
        "GPL-2.0-only WITH Classpath-exception-2.0",
    ]
    assert unknown_licences(asked) == ["mit", "MIT OR ISC", "GPL-2.0", "Nope", ""]


def test_rank_is_that_of_the_last_ranked_licence_that_is_needed():
    allow = ["CC0-1.0", "MIT", "GPL-2.0-only"]
    assert [
        rank(e, allow)
        for e in (
            "CC0-1.0",
            "MIT AND GPL-2.0-only",
            "MIT OR GPL-2.0-only",
            "ISC",
            "",
            "GPL-2.0-only WITH Classpath-exception-2.0",
        )
    ] == [
        0,
        2,
        1,
        3,
        3,
        2,
    ]


def test_exceptions_of_the_list_are_there():
    assert set(known_exceptions().values()) >= RESTRICTING
    assert known_identifiers()["gpl-2.0+"] == "GPL-2.0-or-later"


NAMES = ["MIT", "ISC", "GPL-2.0-only", "CC0-1.0", "Apache-2.0 WITH LLVM-exception"]
EXPRESSIONS = st.recursive(
    st.sampled_from(NAMES),
    lambda inner: st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
    max_leaves=6,
)


def by_hand(expression: str, allow: set[str]) -> bool:
    """The truth of the expression with each licence's admission put in its place."""
    for name in sorted(NAMES, key=len, reverse=True):
        base = name.split(" WITH ")[0]
        expression = expression.replace(name, str(name in allow or base in allow))
    return eval(expression.replace("AND", "and").replace("OR", "or"), {"__builtins__": {}})  # noqa: S307 - our own names


@given(EXPRESSIONS, st.sets(st.sampled_from([*NAMES, "Apache-2.0"])))
def test_admission_is_boolean_algebra(expression, allow):
    assert admitted(expression, sorted(allow)) == by_hand(expression, allow)
    assert canonical(canonical(expression)) == canonical(expression)
    assert set(leaves(expression)) <= set(NAMES)
    # A list that allows more never refuses what a shorter one admits.
    assert admitted(expression, sorted(allow)) <= admitted(expression, [*sorted(allow), "MIT"])
    # canonical form changes nothing
    assert admitted(canonical(expression), sorted(allow)) == admitted(expression, sorted(allow))


@given(st.text(max_size=60))
def test_no_text_breaks_the_parser(text):
    assert canonical(canonical(text)) == canonical(text)
    assert admitted(text, ["MIT"]) in (True, False)
