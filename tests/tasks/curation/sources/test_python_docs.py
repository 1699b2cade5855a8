"""Installed distributions: built here by hand, in a folder that goes onto sys.path."""

import json

import pytest

from tasks.curation.sources import PythonDocs, open_source
from tasks.curation.sources.distributions import VENDORED, family, file_evidence, vendored_part
from tasks.errors import UserError


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An empty site folder, the only one on sys.path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr("sys.path", [str(folder)])
    return folder


def install(site, name, files, headers="", readme="", version="1.0", extra=None):
    """Write a distribution as an installer would: files, METADATA and RECORD."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{headers}\n{readme}"
    written = {
        f"{info.name}/METADATA": metadata,
        **{f"{info.name}/{path}": text for path, text in (extra or {}).items()},
    }
    for path, content in (files | written).items():
        target = site / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in [*files, *written]))
    return info


def records(**config):
    source = open_source(PythonDocs(**config))
    found = list(source)
    assert source.read_count == len(found)
    return {raw.locator: raw for raw in found}


CODE = '"""Module.\n\n    Indented.\n    """\n'
CODE += 'class A:\n    """A."""\n    def f(self):\n        "f"\n    def g(self): "  "\n'


def test_readme_and_docstrings_with_names_that_survive_a_new_version(site):
    install(site, "Some.Thing", {"thing/core.py": CODE}, "License-Expression: MIT\n", "# Thing\n\nWhat it does.\n")
    found = records()
    assert set(found) == {
        "some-thing/README",
        "some-thing/thing/core.py::<module>",
        "some-thing/thing/core.py::A",
        "some-thing/thing/core.py::A.f",
    }
    module = found["some-thing/thing/core.py::<module>"]
    assert module.text == "Module.\n\nIndented."
    assert module.uri == "pypi:some-thing==1.0/thing/core.py#<module>"
    assert module.group == "some-thing/thing/core.py"
    assert module.evidence == (("expression", "MIT"),)
    assert found["some-thing/README"].text == "# Thing\n\nWhat it does."


EVIDENCE = {
    "expression": ("License-Expression: MIT OR Apache-2.0\n", [("expression", "MIT OR Apache-2.0")]),
    "name and classifiers": (
        "License: BSD\nClassifier: License :: OSI Approved :: BSD License\nClassifier: Topic :: Utilities\n",
        [("name", "BSD"), ("classifier", "License :: OSI Approved :: BSD License")],
    ),
    "whole text": ("License: MIT License\n        \n        Permission is hereby granted\n", None),
    "long line": (f"License: {'x' * 201}\n", [("text", "x" * 201)]),
    "unknown": ("License: UNKNOWN\n", []),
}


@pytest.mark.parametrize("case", EVIDENCE)
def test_evidence_of_a_distribution(site, case):
    headers, want = EVIDENCE[case]
    install(site, "a", {"a.py": "'doc'"}, headers)
    evidence = records()["a/a.py::<module>"].evidence
    if want is None:
        ((field, text),) = evidence
        assert field == "text"
        assert text.startswith("MIT License\n")
    else:
        assert list(evidence) == want


def test_licence_files_lie_beside_what_is_no_expression(site):
    extra = {"licenses/LICENSE.txt": "Permission is granted"}
    install(site, "silent", {"s.py": "'doc'"}, "License-File: LICENSE.txt\n", extra=extra)
    install(site, "plain", {"p.py": "'doc'"}, "License: MIT\nLicense-File: LICENSE.txt\n", extra=extra)
    install(site, "exact", {"e.py": "'doc'"}, "License-Expression: MIT\nLicense-File: LICENSE.txt\n", extra=extra)
    found = records()
    assert found["silent/s.py::<module>"].evidence == (("file", "Permission is granted"),)
    assert found["plain/p.py::<module>"].evidence == (("name", "MIT"), ("file", "Permission is granted"))
    assert found["exact/e.py::<module>"].evidence == (("expression", "MIT"),)


def test_vendored_files_do_not_carry_the_licence_around_them(site):
    files = {
        "a/_vendor/x.py": "'doc'",
        "a/_vendor/y.py": "# SPDX-License-Identifier: ISC\n'doc'",
        "a/own.py": "#!/bin/python\n# SPDX-License-Identifier: PSF-2.0\n'doc'",
        "a/same.py": "# SPDX-License-Identifier: MIT\n'doc'",
        "a/vendor.py": "x = 'SPDX-License-Identifier: ISC'\nclass A: 'doc'",
    }
    install(site, "a", files, "License-Expression: MIT\n")
    found = {key.split("::")[0].removeprefix("a/a/"): raw.evidence for key, raw in records().items()}
    assert found == {
        "_vendor/x.py": (("vendored", "_vendor"),),
        "_vendor/y.py": (("vendored", "_vendor"), ("expression", "ISC")),
        "own.py": (("expression", "MIT"), ("expression", "PSF-2.0")),
        "same.py": (("expression", "MIT"),),
        "vendor.py": (("expression", "MIT"),),
    }


def test_which_folders_count_as_vendored():
    yes = "_vendor vendor vendored vendored_templates Vendor third_party thirdparty third-party thirdparty_files "
    yes += "3rdparty extern externals external _external"
    assert [name for name in yes.split() if not VENDORED.fullmatch(name)] == []
    no = "vending invendor externally extern_c lib internal party contrib"
    assert [name for name in no.split() if VENDORED.fullmatch(name)] == []
    assert vendored_part("a/b/extern.py") == ""
    assert vendored_part("a/extern/vendor/b.py") == "extern"
    assert file_evidence("a.py", b"", ()) == ()


@pytest.mark.parametrize(
    ("name", "top", "want"),
    [
        ("mlflow", {"mlflow"}, "mlflow"),
        ("mlflow-skinny", {"mlflow", "mlflow_skinny-1.dist-info"}, "mlflow"),
        ("nvidia-cublas", {"nvidia"}, "nvidia"),
        ("opentelemetry-api", {"opentelemetry"}, "opentelemetry"),
        ("python-dateutil", {"dateutil"}, "python-dateutil"),
        ("pydantic-core", {"pydantic_core"}, "pydantic-core"),
        ("pyyaml", {"yaml", "_yaml"}, "pyyaml"),
    ],
)
def test_families(name, top, want):
    assert family(name, top) == want


def test_files_that_cannot_be_read_are_records(site):
    bad = {"a/bad.py": b"'doc'\n# \xff\n", "a/syntax.py": "'doc'\nclass A(:\n", "a/good.py": "'doc'"}
    install(site, "a", bad, "License: MIT\n")
    found = records()
    assert {key: (raw.text, raw.rule, raw.detail) for key, raw in found.items()} == {
        "a/a/bad.py": (None, "ingest.utf8", "byte 8 is not utf-8"),
        "a/a/syntax.py": (None, "error.parse", "SyntaxError"),
        "a/a/good.py::<module>": ("doc", "", ""),
    }
    assert found["a/a/bad.py"].content() == bad["a/bad.py"]


def test_undecodable_metadata_is_a_record(site):
    install(site, "a", {"a.py": "'doc'"}, readme="caf\xe9").joinpath("METADATA").write_bytes(
        b"Name: a\nVersion: 1.0\n\ncaf\xe9"
    )
    raw = records()["a/README"]
    assert (raw.text, raw.rule) == (None, "ingest.utf8")
    assert b"caf\xe9" in raw.content()


def test_what_is_left_out(site, tmp_path, monkeypatch):
    install(site, "a", {"a.py": "'doc'", "../bin/tool.py": "'script'"}, "License: MIT\n")
    install(site, "gristmill", {"g.py": "'ours'"})
    install(site, "mine", {"m.py": "'mine'"}, extra={"direct_url.json": json.dumps({"dir_info": {"editable": True}})})
    here = tmp_path / "here"
    install(here, "stray", {"s.py": "'stray'"})
    other = tmp_path / "other"
    install(other, "a", {"a.py": "'hidden by the first on the path'"}, version="2.0")
    (site / "gone.py").unlink(missing_ok=True)
    monkeypatch.chdir(here)
    monkeypatch.setattr("sys.path", ["", str(here), str(site), str(other)])
    assert {key: raw.text for key, raw in records().items()} == {"a/a.py::<module>": "doc"}


def test_a_shared_file_belongs_to_both(site):
    install(site, "flow", {"flow/core.py": CODE}, "License: MIT\n")
    install(site, "flow-skinny", {"flow/core.py": CODE}, "License: ISC\n")
    found = records()
    assert len(found) == 6
    assert {raw.label for raw in found.values()} == {"flow"}
    assert found["flow-skinny/flow/core.py::A"].evidence == (("name", "ISC"),)


def test_selection(site):
    for name in ("a-one", "a-two", "b"):
        install(site, name, {f"{name}.py": "'doc'"})
    assert {key[:5] for key in records(distributions=("A_*",))} == {"a-one", "a-two"}
    assert {key[:5] for key in records(exclude=("a.two", "b"))} == {"a-one"}
    with pytest.raises(UserError, match="'c'"):
        records(distributions=("c",))
    with pytest.raises(UserError, match="no installed distribution is left"):
        records(exclude=("*",))


def test_the_digest_changes_with_every_part_and_with_nothing_else(site):
    def digest(**config):
        return open_source(PythonDocs(**config)).digest()

    info = install(site, "a", {"a.py": "'doc'", "data.txt": "x"}, "License: MIT\n", "readme")
    first = digest()
    assert digest() == first
    (site / "a.py").write_text("'dog'")
    changed = digest()
    assert changed != first
    (site / "a.py").write_text("'doc'")
    (site / "data.txt").write_text("y")
    assert digest() == first
    metadata = info / "METADATA"
    original = metadata.read_text()
    for old, new in (("MIT", "ISC"), ("readme", "readmf"), ("1.0", "1.1")):
        metadata.write_text(original.replace(old, new))
        assert digest() != first
    metadata.write_text(original)
    install(site, "b", {"b.py": "'doc'"})
    assert digest() != first
    assert digest(exclude=("b",)) == first


def test_reading_before_the_digest_gives_the_same_digest(site):
    install(site, "a", {"a.py": "'doc'"}, readme="readme")
    source, other = open_source(PythonDocs()), open_source(PythonDocs())
    list(source)
    assert source.digest() == other.digest()
    assert source.total_bytes() == other.total_bytes() == len("'doc'") + len("readme")
