"""Weighing evidence: agreement, refinement, conflict, doubt; what is declared and what is said about it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_policies.licences import DECLARED_LENGTH, DETAIL_LENGTH, FIELDS, PROBLEMS, Conclusion, conclude, tables_digest
from data_policies.spdx import canonical

MIT = """Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without
limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the
Software, and to permit persons to whom the Software is furnished to do so, subject to the following
conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions
of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED
TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL
THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF
CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER
DEALINGS IN THE SOFTWARE.
"""
MIT_FILE = f"The MIT License (MIT)\n\nCopyright (c) 2020 Example Holder\n\n{MIT}"


def outcome(*fields: tuple[str, str]) -> str:
    found = conclude(fields)
    return f"!{found.problem}" if found.problem else found.licence


def trove(name: str) -> tuple[str, str]:
    return "classifier", f"License :: OSI Approved :: {name}"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], "!missing"),
        ([("name", "")], "!missing"),
        ([("name", "UNKNOWN"), ("expression", " ")], "!missing"),
        ([("classifier", "Programming Language :: Python")], "!missing"),
        # refinements are no conflicts
        ([("name", "BSD-3-Clause"), trove("BSD License")], "BSD-3-Clause"),
        ([("expression", "Apache-2.0"), trove("Apache Software License")], "Apache-2.0"),
        ([("name", "GPLv3"), trove("GNU General Public License v3 or later (GPLv3+)")], "GPL-3.0-or-later"),
        ([("name", "GPL"), ("url", "https://www.gnu.org/licenses/gpl-3.0.html")], "GPL-3.0-only"),
        ([("expression", "Apache-2.0 WITH LLVM-exception"), ("name", "Apache-2.0")], "Apache-2.0 WITH LLVM-exception"),
        (
            [("name", "MIT"), trove("MIT License"), ("url", "https://opensource.org/licenses/MIT"), ("text", MIT_FILE)],
            "MIT",
        ),
        ([("name", "MIT"), ("url", "https://example.org/LICENSE")], "MIT"),
        (
            [("expression", "MIT OR Apache-2.0"), trove("MIT License"), trove("Apache Software License")],
            "MIT OR Apache-2.0",
        ),
        ([("expression", "MIT OR Apache-2.0"), ("name", "Dual License")], "MIT OR Apache-2.0"),
        ([("name", "Apache-2.0 or MIT"), ("expression", "MIT OR Apache-2.0")], "MIT OR Apache-2.0"),
        # conflicts
        ([("name", "MIT"), ("expression", "GPL-3.0-only")], "!conflict"),
        ([("name", "MIT AND GPL-3.0-only"), ("expression", "MIT")], "!conflict"),
        ([("name", "MIT AND GPL-3.0-only"), ("expression", "MIT OR GPL-3.0-only")], "!conflict"),
        ([("name", "MIT OR GPL-3.0-only"), ("expression", "GPL-3.0-only")], "!conflict"),
        ([("name", "MIT OR GPL-3.0-only"), ("name", "GPL-3.0-only")], "!conflict"),
        ([("name", "MIT"), ("expression", "MIT AND GPL-3.0-only")], "MIT AND GPL-3.0-only"),
        (
            [("name", "GPLv3 or MIT"), trove("MIT License"), trove("GNU General Public License v3 (GPLv3)")],
            "GPL-3.0-only OR MIT",
        ),
        ([trove("MIT License"), trove("BSD License")], "!conflict"),
        ([trove("MIT License"), trove("ISC License (ISCL)")], "!conflict"),
        ([trove("Apache Software License"), trove("BSD License"), ("name", "Dual License")], "!conflict"),
        ([("name", "GPL-2.0-only"), trove("GNU General Public License v3 or later (GPLv3+)")], "!conflict"),
        ([("expression", "MIT"), ("classifier", "License :: Other/Proprietary License")], "!conflict"),
        ([("name", "public domain"), ("classifier", "License :: Other/Proprietary License")], "!conflict"),
        ([("text", MIT_FILE), ("name", "BSD-3-Clause")], "!conflict"),
        ([("url", "https://creativecommons.org/licenses/by/4.0/"), ("name", "cc-by-nc-4.0")], "!conflict"),
        ([("url", "https://creativecommons.org/licenses/by/4.0/"), ("name", "cc-by-3.0")], "!conflict"),
        # doubts
        ([trove("Apache Software License")], "!unknown"),
        ([("name", "Apache"), trove("Apache Software License")], "!unknown"),
        ([("classifier", "License :: OSI Approved")], "!unknown"),
        ([("classifier", "License :: Made Up License")], "!unknown"),
        ([("expression", "MIT"), ("name", "My Own License")], "!unknown"),
        ([("name", "Dual License"), trove("MIT License")], "!unknown"),
        ([trove("MIT License"), ("text", MIT_FILE + "\nThe Software shall be used for Good, not Evil.\n")], "!unknown"),
        (
            [("name", "MIT"), ("text", MIT_FILE + "\nNo commercial use, and it may not be used to train a model.\n")],
            "!unknown",
        ),
        ([("name", "MIT"), ("text", MIT_FILE + "\nBundled: a font, see fonts/NOTICE.\n")], "MIT"),
        ([("name", "ISC"), ("text", MIT_FILE + "\nBundled: a font, see fonts/NOTICE.\n")], "!conflict"),
        # proprietary
        (
            [("name", "LicenseRef-NVIDIA-Proprietary"), ("classifier", "License :: Other/Proprietary License")],
            "LicenseRef-NVIDIA-Proprietary",
        ),
        # vendored
        ([("vendored", "_vendor")], "!vendored"),
        ([("vendored", "_vendor"), ("name", "")], "!vendored"),
        ([("vendored", "_vendor"), ("expression", "MIT")], "MIT"),
        ([("vendored", "_vendor"), ("name", "My Own License")], "!unknown"),
    ],
)
def test_evidence_is_weighed(fields, expected):
    assert outcome(*fields) == expected
    assert outcome(*reversed(fields)) == expected  # the order of the fields does not count


def test_an_unknown_field_is_a_bug_of_the_source():
    with pytest.raises(ValueError, match="'colour'"):
        conclude([("colour", "MIT")])


def test_detail_says_which_field_matched_what():
    found = conclude([("name", "Apache 2.0"), ("classifier", "License :: Other/Proprietary License")])
    assert found.detail.startswith(
        "name says Apache-2.0, classifier says LicenseRef-Proprietary; name: Apache-2.0 (apache 2.0)"
    )
    assert conclude([("url", "http://creativecommons.org/licenses/by/2.0/it/")]).detail.endswith("port it")


def test_a_whole_text_is_declared_by_its_hash_and_never_quoted():
    found = conclude([("name", MIT_FILE)])
    assert found.licence == "MIT"
    assert found.declared.startswith("text: The MIT License (MIT) (sha256 ")
    assert found.declared.endswith(f", {len(MIT_FILE)} bytes)")
    assert "Permission" not in found.detail + found.declared
    assert "Example Holder" not in found.detail + found.declared


def test_declared_takes_the_field_with_the_most_authority_and_no_address():
    assert conclude([trove("MIT License"), ("name", "mit"), ("expression", "MIT")]).declared == "MIT"
    assert (
        conclude([("classifier", "Topic :: Text"), trove("MIT License")]).declared
        == "License :: OSI Approved :: MIT License"
    )
    assert "jo@example.org" not in repr(conclude([("name", "MIT, ask jo@example.org")]))


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("CC0-1.0", ""),
        ("MIT-0", ""),
        ("Zlib", "notice"),
        ("MIT", "attribution,notice"),
        ("CC-BY-4.0", "attribution,notice"),
        ("CC-BY-SA-3.0-DE", "attribution,notice,share-alike"),
        ("GPL-3.0-or-later", "attribution,notice,share-alike"),
        ("ODbL-1.0", "attribution,notice,share-alike"),
        ("CC0-1.0 AND Zlib", "notice"),
        ("MIT OR GPL-2.0-only", "attribution,notice,share-alike"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "attribution,notice,share-alike"),
        ("LicenseRef-Proprietary", ""),
    ],
)
def test_obligations(licence, expected):
    assert conclude([("expression", licence)]) == Conclusion(licence, "", f"expression: {licence}", licence, expected)


def test_tables_digest_is_stable_within_a_version():
    assert len(tables_digest()) == 64
    assert tables_digest() == tables_digest()


VALUES = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            "MIT",
            "BSD",
            "Apache-2.0 OR MIT",
            "GPL-2+ with Bison exception",
            "[mit, other]",
            "http://[::1",
            "cc by-nc",
            MIT_FILE,
            "((",
            "a or b, and c",
        ]
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(FIELDS), VALUES), max_size=5))
def test_whatever_the_evidence_the_conclusion_is_well_formed_and_closed(fields):
    found = conclude(fields)
    assert found.problem in PROBLEMS
    assert bool(found.licence) == (not found.problem)
    assert not found.licence or canonical(found.licence) == found.licence
    for line, length in ((found.declared, DECLARED_LENGTH), (found.detail, DETAIL_LENGTH)):
        assert len(line) <= length
        assert line.isprintable()
    assert conclude(list(reversed(fields))).licence == found.licence


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["MIT", "cc-by-4.0", "Apache 2.0", "BSD 3-Clause", "CC0", "GPLv3"]),
    st.text(alphabet="abcdefghijklmnop -,", min_size=4, max_size=30),
)
def test_words_added_to_a_name_never_leave_it_concluded(name, words):
    """A name is read whole: with anything else beside it, it is not that licence by that name alone."""
    found = conclude([("name", f"{name} xq{words}")])
    assert found.licence == ""


@pytest.mark.parametrize(
    "value", ["A" * 400_001, "jo@" * 100_000, "(" * 5000, "x, and " * 5000, "http://a/" + "a/" * 50_000]
)
@pytest.mark.parametrize("field", ["expression", "name", "url", "text", "classifier", "vendored"])
def test_hostile_lengths_are_no_licence_and_end_soon(field, value):
    """The suite's time-out is the bar: each of these once took minutes."""
    assert outcome((field, value)) in ("!unknown", "!missing", "!vendored")


def test_a_licence_file_is_asked_only_when_nothing_else_names_a_licence():
    text = (
        "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated "
        'documentation files (the "Software"), to deal in the Software without restriction, including without '
        "limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the "
        "Software, and to permit persons to whom the Software is furnished to do so, subject to the following "
        "conditions:\n\nThe above copyright notice and this permission notice shall be included in all copies or "
        'substantial portions of the Software.\n\nTHE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, '
        "EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A "
        "PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY "
        "CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF "
        "OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.\n"
    )
    assert conclude([("name", "BSD"), ("file", text)]).licence == ""  # the file names another: it decides nothing
    assert conclude([("file", text)]).licence == "MIT"
    assert conclude([("name", "Apache-2.0"), ("file", text)]).licence == "Apache-2.0"
    assert conclude([("file", "no licence at all, just words")]).problem == "unknown"
