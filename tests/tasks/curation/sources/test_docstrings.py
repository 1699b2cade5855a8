# ruff: noqa: E501 - a program on one line reads better than one in pieces
"""The fast scanner against `ast` itself: on the standard library, on programs made to confuse it, on damaged ones."""

import hashlib
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.curation.sources.docstrings import Unsure, docstrings, parse, scan

DOCUMENTED = (SyntaxError, ValueError, RecursionError, MemoryError)  # UnicodeDecodeError is a ValueError


def outcome(read, source):
    try:
        return read(source)
    except DOCUMENTED as error:
        return type(error)


def test_the_standard_library_is_read_as_ast_reads_it():
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    files = [p for p in stdlib.rglob("*.py") if "site-packages" not in p.parts]
    chosen = [p for p in files if hashlib.sha256(p.name.encode()).digest()[0] % 32 == 0]
    found = unsure = 0
    for path in chosen:
        source = path.read_bytes()
        want = outcome(parse, source)
        if isinstance(want, list):
            assert docstrings(source) == want, path
            found += len(want)
            try:
                scan(source)
            except Unsure:
                unsure += 1
    assert found > 100
    assert unsure < len(chosen) / 20  # else it saves nothing


CASES = {
    "module": '"""Doc."""\n',
    "module after comments and a mark": "\ufeff# -*- coding: utf-8 -*-\n\n# more\n'doc'\nx = 1\n",
    "no docstring after a statement": 'import os\n"not one"\ndef f():\n    pass\n    "nor this"\n',
    "one line": 'class A: "a"\ndef f(): "f"; return 1\n',
    "raw, unicode, concatenated, escaped": (
        'def a():\n    r"""\\d"""\ndef b():\n    u"u"\ndef c():\n    "x" r\'\\y\' """z"""\ndef d():\n    "tab\\t\\x41\\N{BULLET}"\n'
    ),
    "not docstrings": 'def a():\n    b"x"\ndef b():\n    f"{1}"\ndef c():\n    "x".strip()\ndef d():\n    "x" % 1\ndef e():\n    "x", 1\n',
    "parenthesised": 'def f():\n    ("doc"\n     "more")\n',
    "continued": 'def f():\n    "a" \\\n    "b"\ndef g(a, \\\n      b): \\\n    "g"\n',
    "header with colons": 'def f(a: dict = {"k": "v"}, b=lambda: "x", *, c: "d" = "e") -> "r":\n    "doc"\n',
    "lambda in the annotation": 'def f() -> lambda: 1:\n    "doc"\n',
    "definitions in strings and comments": '"""\ndef no():\n    "x"\n"""\n# def no(): "x"\ndef f():\n    "doc" # class C: "y"\n',
    "nested": 'class A:\n  "a"\n  class B:\n    def f(self):\n      "f"\n      def g():\n        "g"\n  async def h(self):\n    "h"\n',
    "blocks between": 'class A:\n    pass\nif x:\n    def g():\n        "top level, not A.g"\nelse:\n    class C:\n        "C"\n',
    "a bracket's line at the margin": 'class A:\n    x = [\n1,\nfor_\n]\n    def f(self):\n        "A.f"\n    y = f(\n)\n    def g():\n        "A.g"\n',
    "a string's line at the margin": "class A:\n    x = '''\nif y:\n'''\n    def f(self):\n        'A.f'\n",
    "tabs": "class A:\n\tdef f(self):\n\t\t'A.f'\n",
    "form feed": "class A:\n    'a'\n\f\ndef f():\n    'f'\n",
    "carriage returns": 'class A:\r\n    """one\r\n    two"""\rdef f():\r    "f"\r',
    "odd names": "def _ﬁ(): 'ligature'\ndef definitely(): 'd'\nclass classy: 'c'\nundefined = 1\n",
    "quotes in quotes": "def f():\n    '''it's \"quoted\" \\''' still'''\ndef g():\n    \"\"\"ends with a quote\\\"\"\"\"\n",
    "empty strings": "def f():\n    ''\ndef g():\n    ''''''\ndef h():\n    '' ''\n",
    "decorated": "@d('x')\n@e\ndef f():\n    'f'\n@property\ndef f():\n    'again'\n",
    "overloads with dots": "def f(): ...\ndef g():\n    ...\n    'no'\n",
    "latin-1": "# coding: latin-1\ndef f():\n    'é'\n".encode("latin-1"),
    "match": "match x:\n    case 1:\n        def f():\n            'f'\n    case _:\n        class A: 'A'\n",
    "try": "try:\n    def f(): 'f'\nexcept E:\n    def g(): 'g'\nelse:\n    def h(): 'h'\nfinally:\n    def i(): 'i'\n",
    "empty": "",
    "only a comment": "# def f(): 'x'",
    "no newline at the end": "def f(): 'doc'",
    "semicolons": "'doc';x=1\nclass A:\n    'a';'b'\n",
    "string after colon of a dict": "class A:\n    d = {1:\n    'x'}\n    def f(self): return {'a':'b'}\n",
    "slices": "def f(x):\n    return x['a':'b']\n",
    "generics": "def f[T: (int, str)](x: T) -> T:\n    'doc'\nclass A[T]: 'a'\n",
    "f-strings with their own quotes": "def f():\n    x = f\"{y['#']}\"\n    z = f'{a!r:>{b}}' f'{{'\ndef g():\n    'g'\n",
}


@pytest.mark.parametrize("name", CASES)
def test_cases(name):
    source = CASES[name] if isinstance(CASES[name], bytes) else CASES[name].encode()
    want = outcome(parse, source)
    assert outcome(docstrings, source) == want or not isinstance(want, list)


def test_values_and_names():
    source = (
        b'"""m"""\nclass A:\n    "a"\n    def f(self):\n        r"""\\d"""\n        def g():\n            "g" "h"\n'
    )
    assert docstrings(source) == [("", "m"), ("A", "a"), ("A.f", "\\d"), ("A.f.<locals>.g", "gh")]


def test_what_cannot_be_read_says_why():
    with pytest.raises(UnicodeDecodeError):
        docstrings(b'def f():\n    "\xff"\n')
    with pytest.raises(SyntaxError):
        docstrings(b'def f(:\n    "doc"\n')
    with pytest.raises(SyntaxError):
        docstrings(b"x = '''never closed\ndef f(): 'x'\n")
    with pytest.raises(SyntaxError):
        docstrings(b"# coding: no-such-encoding\n'doc'\n")
    with pytest.raises(DOCUMENTED):
        docstrings(b"'doc'\0\n")


INDENT = "    "
LITERALS = st.sampled_from(
    [
        '"d"',
        "'d'",
        '"""d\n  e"""',
        "'''def x():\n'''",
        'r"\\d"',
        '"a" "b"',
        'f"{x}"',
        'b"x"',
        '""',
        '"#"',
        '"\\""',
        "('p')",
    ]
)
SIMPLE = st.sampled_from(
    [
        "pass",
        "x = 1  # class A: 'no'",
        'y = {"a": "b"}',
        "z = [\n1,\n2]",
        "w = (\n    3)",
        "f('''\nif a:\n''')",
        "a = 1; b = 'c'",
        "x = \\\n  1",
        "return_ = lambda: 'x'",
        "d = x['a':'b']",
        's = """\ndef no():\n    \'no\'\n"""',
    ]
)
HEADERS = st.sampled_from(
    [
        "def f():",
        "async def g(a: 'x' = {1: 2}, *b) -> 'r':",
        "class A:",
        "class B(C, d='e'):",
        "def h(\n  a,\n  b=':'\n):",
        "def k(x=lambda: 1): # note",
        "class ﬁ:",
    ]
)
BLOCKS = st.sampled_from(["if x:", "for i in y:", "while z:", "with a as b:", "try:\n{0}    pass\n{0}finally:"])


@st.composite
def programs(draw, depth=0):
    """Valid programs, as lines without the outer indentation."""
    body = []
    if draw(st.booleans()):
        body.append(draw(LITERALS))
    for _ in range(draw(st.integers(0, 3))):
        what = draw(st.integers(0, 3)) if depth < 3 else 0
        if what < 2:
            body.append(draw(SIMPLE))
        else:
            header = draw(HEADERS if what == 2 else BLOCKS).replace("{0}", INDENT * depth)
            body.append(header + "\n" + draw(st.sampled_from(["", "\n", "# c\n"])) + draw(programs(depth=depth + 1)))
    return "\n".join(INDENT * depth + line for line in body or ["pass"])


@settings(max_examples=80, deadline=None)
@given(programs())
def test_generated_programs(program):
    source = (program + "\n").encode()
    want = parse(source)
    assert docstrings(source) == want


DAMAGE = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.sampled_from(["", '"', "'", '"""', "\n", "#", "(", ")", ":", "\\", "def ", " ", "\t", "f", "\0", "{"]),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=120, deadline=None)
@given(programs(), DAMAGE)
def test_damaged_programs(program, damage):
    """Whatever Python still accepts is read as Python reads it, and nothing else is ever raised."""
    for share, text in damage:
        at = int(share * len(program))
        program = program[:at] + text + program[at + (not text) :]
    source = program.encode()
    want, found = outcome(parse, source), outcome(docstrings, source)
    if isinstance(want, list):
        assert found == want
