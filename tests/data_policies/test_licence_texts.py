"""Whole texts: every word accounted for, or the text is unknown."""

import textwrap
from importlib.metadata import distributions

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_policies.licence_texts import recognise, templates, tokens

BSD = """Redistribution and use in source and binary forms, with or without modification, are permitted provided that
the following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this list of conditions and the
following disclaimer.
2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the
following disclaimer in the documentation and/or other materials provided with the distribution.
{third}
THIS SOFTWARE IS PROVIDED BY {who} "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO,
THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE DISCLAIMED. IN NO EVENT SHALL
{who} BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING,
BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS
INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT
(INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF THIS SOFTWARE, EVEN IF ADVISED OF THE
POSSIBILITY OF SUCH DAMAGE.
"""
THIRD = """3. Neither the name of {name} nor the names of its contributors may be used to endorse or promote products
derived from this software without specific prior written permission.
"""
ISC = """Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby
granted, provided that the above copyright notice and this permission notice appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING
ALL IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL,
DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR
PROFITS, WHETHER IN AN ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION
WITH THE USE OR PERFORMANCE OF THIS SOFTWARE.
"""
WHO = "THE COPYRIGHT HOLDERS AND CONTRIBUTORS"
BSD2, BSD3 = BSD.format(third="", who=WHO), BSD.format(third=THIRD.format(name="the University of Example"), who=WHO)


def licences(text: str) -> tuple[str, ...]:
    return recognise(text).licences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BSD2, ("BSD-2-Clause",)),
        (BSD3, ("BSD-3-Clause",)),
        (
            "BSD 3-Clause License\n\nCopyright (c) 2010-2020, Example Holder\nAll rights reserved.\n\n" + BSD3,
            ("BSD-3-Clause",),
        ),
        ("ISC License\n\nCopyright 2020 Example\n\n" + ISC, ("ISC",)),
        (ISC + "\n-----\n\n" + BSD2, ("ISC", "BSD-2-Clause")),
        # the title contradicts the text; a sentence more; a sentence less; a changed word
        ("MIT License\n\n" + BSD3, ()),
        (BSD3 + "\nYou may not use this for commercial purposes.\n", ()),
        (BSD2.replace("OF SUCH DAMAGE", ""), ()),
        (BSD2.replace("are permitted", "are not permitted"), ()),
        (ISC.replace("with or without fee", "without fee"), ()),
        (ISC.replace("for any purpose", "for any non-commercial purpose"), ()),
        # terms hidden in what looks like a notice or a name
        ("Copyright (c) 2020 Example. Non-commercial use only.\n\n" + BSD2, ()),
        ("Copyright (c) 2020 Example\nMay be used for research only\n\n" + BSD2, ()),
        (BSD.format(third="", who="THE AUTHOR AND MAY NOT BE USED IN PRODUCTS"), ()),
        ("", ()),
        ("All rights reserved.", ()),
        ("Copyright (c) 2020 Example", ()),
    ],
)
def test_every_word_is_accounted_for(text, expected):
    assert licences(text) == expected


def test_what_is_left_over_is_reported_with_the_fragments():
    found = recognise(BSD2 + "\nAlso, be nice.\n")
    assert (found.fragments, found.leftover) == (("BSD-2-Clause",), "Also, be nice.")


@settings(max_examples=30, deadline=None)
@given(
    st.integers(20, 160),
    st.sampled_from(["", "# ", " * ", "// ", "    ", "-- "]),
    st.booleans(),
    st.sampled_from([BSD2, BSD3, ISC]),
)
def test_layout_case_and_comment_marks_do_not_count(width, prefix, lower, text):
    paragraphs = [textwrap.fill(" ".join(part.split()), width) for part in text.split("\n\n")]
    wrapped = "\n".join(prefix + line for part in paragraphs for line in [*part.split("\n"), ""])
    assert licences(wrapped.lower() if lower else wrapped) == licences(text)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([BSD2, BSD3, ISC]),
    st.integers(0, 10**6),
    st.sampled_from(["not", "never", "commercial", "unless", "fee", "prohibited"]),
)
def test_one_word_put_in_anywhere_is_never_overlooked(text, place, word):
    """Wherever a restricting word lands, the text is no longer that licence."""
    words = text.split(" ")
    words.insert(place % (len(words) + 1), f" {word} ")
    assert licences(" ".join(words)) == ()


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([BSD2, BSD3, ISC]), st.integers(0, 10**6))
def test_a_text_cut_short_is_unknown(text, place):
    words = text.split()
    assert licences(" ".join(words[: place % len(words)])) == ()


def test_longer_templates_come_before_the_texts_inside_them():
    order = [name for name, _ in templates()]
    assert order.index("X11") < order.index("MIT")
    assert order.index("BSD-4-Clause") < order.index("BSD-2-Clause") < order.index("BSD-1-Clause")


def test_long_texts_are_known_by_their_hash():
    """The licence files of two libraries that are always installed beside this one."""
    by_name = {found.metadata["Name"].lower(): found for found in distributions()}
    for name, expected in (("prefect", "Apache-2.0"), ("pathspec", "MPL-2.0")):
        text = next((text for place in ("licenses/LICENSE", "LICENSE") if (text := by_name[name].read_text(place))), "")
        assert licences(text) == (expected,)
        assert licences(text.replace("royalty-free", "royalty-bearing")) == ()
        assert licences(text[: len(text) // 2]) == ()


def test_tokens_leave_out_notices_and_keep_terms():
    assert tokens("Copyright (c) 2020 Jo Example\nand others\n\nfree software") == (["free", "software"], [3, 3])
    assert tokens("Copyright (c) 2020 Jo Example. No use.")[0] == ["copyright", "2020", "jo", "example", "no", "use"]
    assert tokens("1. Licence   NOTICE\n(b) copyright holders")[0] == ["license", "notice", "copyright", "holders"]
