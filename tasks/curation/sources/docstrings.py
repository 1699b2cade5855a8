"""The docstrings of Python source, as `ast` finds them, in a fraction of its time.

Building the syntax trees of everything that is installed costs about 100 CPU-seconds, and all but the docstrings is
thrown away. `scan` reads only what a docstring depends on: strings and comments, definitions, the indentation between
them. Wherever it meets something that it cannot read for certain, it leaves the file to `ast`. In every file that
Python accepts it finds what `ast` finds (the tests compare them); in one with a syntax error further down it still
finds the docstrings, which `ast` cannot.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import unicodedata
import warnings
from collections.abc import Iterator
from functools import cache

Docstring = tuple[str, str]  # qualified name ("" for the module), text as written

#: Code, then a comment, a string, a quote that starts no string, or the end.
_TOKEN = re.compile(
    r"""([^"'#]*) (?:
      \#[^\n]*
    | ( "{3} [^"\\]* (?: (?: \\. | "(?!"") ) [^"\\]* )* "{3}
      | '{3} [^'\\]* (?: (?: \\. | '(?!'') ) [^'\\]* )* '{3}
      | "(?!"") [^"\\\n]* (?: \\. [^"\\\n]* )* "
      | '(?!'') [^'\\\n]* (?: \\. [^'\\\n]* )* ' )
    | (["']) )?""",
    re.VERBOSE | re.DOTALL,
)
# The patterns below read masked text: a string is a single `"` (its prefix stays), comments are gone.
_DEFINITION = re.compile(r"\n([ \t]*)(?:async[ \t]+)?(def|class)[ \t]+(\w+)")  # keywords: never inside brackets
_BRACKETS = re.compile(r"[()\[\]{}:]")
_BODY = re.compile(r"[ \t\n]*")
_LITERALS = re.compile(r'(?:[A-Za-z]{0,2}"[ \t]*)+(?=[\n;]|\Z)')  # adjacent literals, and then the statement ends
_PARENTHESISED = re.compile(r'\([( \t\n]*[A-Za-z]{0,2}"')
_PREFIX = re.compile(r'([A-Za-z]{0,2})"')

_FORMATTED = frozenset("fFtT")
_LEADING = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*")  # blank lines and comments, in unmasked text
_MAY_BE_LITERAL = re.compile(r"""[A-Za-z]{0,2}["'(\\\\]""")
_COOKIE = re.compile(rb"\A(?:[^\n]*\n)?[ \t\f]*#[^\n]*?coding[:=][ \t]*([-\w.]+)")


class Unsure(Exception):
    """`scan` cannot be certain; `ast` must read the file."""


def docstrings(source: bytes) -> list[Docstring]:
    """Every module, class and function docstring of a source file, in the order in which they stand, uncleaned.

    Names are qualified as in PEP 3155. Raises UnicodeDecodeError where the bytes are not in their declared encoding
    (PEP 263) and SyntaxError, ValueError, RecursionError or MemoryError where Python cannot read the file.
    """
    try:
        return scan(source)
    except Unsure:
        return parse(source)


def parse(source: bytes) -> list[Docstring]:
    """The docstrings by way of the syntax tree: the definition of what `scan` must find."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    source.decode(encoding)  # ast would call it a SyntaxError
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an author's invalid escapes are no concern of ours
        tree = ast.parse(source)
    return list(_walk(tree, ""))


def _walk(node: ast.AST, scope: str) -> Iterator[Docstring]:
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        name = "" if isinstance(node, ast.Module) else scope + node.name
        if (text := ast.get_docstring(node, clean=False)) is not None:
            yield name, text
        if name:
            scope = f"{name}." if isinstance(node, ast.ClassDef) else f"{name}.<locals>."
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.stmt, ast.excepthandler, ast.match_case)):
            yield from _walk(child, scope)


def scan(source: bytes) -> list[Docstring]:
    """The docstrings without a syntax tree; Unsure wherever that might differ from `parse`."""
    text = _decode(source)
    is_data = "def" not in text and "class" not in text  # then only its head can hold a docstring
    if is_data and not _MAY_BE_LITERAL.match(text, _LEADING.match(text).end()):  # type: ignore[union-attr]
        return []
    masked, strings = _mask(text)
    found: list[Docstring] = []
    counted, ordinal = 0, 0  # strings[ordinal] is the first `"` at or after masked[counted]

    def add(name: str, body: int) -> None:
        nonlocal counted, ordinal
        match = _LITERALS.match(masked, body)
        if not match:
            if masked.startswith("(", body) and _PARENTHESISED.match(masked, body):
                raise Unsure
            return
        ordinal += masked.count('"', counted, body)
        counted = body
        prefixes = _PREFIX.findall(match[0])
        value = _value(prefixes, strings[ordinal : ordinal + len(prefixes)])
        if value is not None:
            found.append((name, value))

    add("", _BODY.match(masked).end())  # type: ignore[union-attr]
    open_scopes: list[tuple[int, str]] = []  # (indentation, prefix of the names inside)
    after = 0
    for definition in _DEFINITION.finditer(masked):
        indentation, kind, name = definition.groups()
        if "\t" in indentation:
            raise Unsure
        indent = len(indentation)
        while open_scopes and open_scopes[-1][0] >= indent:
            open_scopes.pop()
        while open_scopes and _dedents(masked, after, definition.start(), open_scopes[-1][0]):
            open_scopes.pop()
        if not name.isascii():
            name = unicodedata.normalize("NFKC", name)
        name = (open_scopes[-1][1] if open_scopes else "") + name
        after = _header_end(masked, definition.end())
        add(name, _BODY.match(masked, after).end())  # type: ignore[union-attr]
        open_scopes.append((indent, f"{name}." if kind == "class" else f"{name}.<locals>."))
    return found


def _decode(source: bytes) -> str:
    source = source.removeprefix(b"\xef\xbb\xbf")
    cookie = _COOKIE.match(source)
    if cookie and cookie[1].lower().replace(b"_", b"-") not in (b"utf-8", b"utf8"):
        raise Unsure
    if b"\f" in source or b"\0" in source:  # a form feed resets the column
        raise Unsure
    if b"\r" in source:
        source = source.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        return source.decode()
    except UnicodeDecodeError:
        raise Unsure from None


def _mask(text: str) -> tuple[str, list[str]]:
    """The code with each string as one `"` and without comments and continuations; the strings, in order."""
    tokens = _TOKEN.findall(text)
    for code, string, stray in tokens:
        if stray:
            raise Unsure
        # Since Python 3.12 a replacement field may hold the f-string's own quotes; then the braces do not match here.
        if string and code[-2:].strip("rR")[-1:] in _FORMATTED and "{" in string:
            fields = string.replace("{{", "").replace("}}", "")
            if string.count("{") != string.count("}") or fields.count("{") != fields.count("}"):
                raise Unsure
    masked = "\n" + "".join([code + '"' if string else code for code, string, _ in tokens])
    if "\\" in masked:
        if re.search(r"\n[ \t]*\\", masked):
            raise Unsure
        masked = masked.replace("\\\n", " ")
    return masked, [string for _, string, _ in tokens if string]


def _header_end(masked: str, start: int) -> int:
    """The place behind the colon that ends the header of the definition whose name ends at `start`."""
    depth, closed = 0, start
    for bracket in _BRACKETS.finditer(masked, start):
        character = bracket[0]
        if character in "([{":
            depth += 1
        elif character != ":":
            depth -= 1
            closed = bracket.end()
        elif depth == 0:
            if "lambda" in masked[closed : bracket.start()]:  # -> lambda: ...
                raise Unsure
            return bracket.end()
    raise Unsure


def _dedents(masked: str, start: int, end: int, indent: int) -> bool:
    """Does a logical line in masked[start:end] begin at or before column `indent`, closing that scope?"""
    depth = 0
    for line in _low_line(indent).finditer(masked, start, end):
        if line[1] == "\t":
            raise Unsure
        between = masked[start : line.start()]
        depth += sum(map(between.count, "([{")) - sum(map(between.count, ")]}"))
        start = line.start()
        if depth == 0:
            return True
    return False


@cache
def _low_line(indent: int) -> re.Pattern[str]:
    return re.compile(rf"\n {{0,{indent}}}([^ \n])")


def _value(prefixes: list[str], strings: list[str]) -> str | None:
    """The text of adjacent literals, or None where they are bytes, formatted or templates."""
    if set("".join(prefixes).lower()) & set("bft"):
        return None
    if len(strings) == 1 and ("\\" not in strings[0] or prefixes[0] in ("r", "R")):
        quotes = 3 if strings[0].startswith(('"""', "'''")) else 1
        return strings[0][quotes:-quotes]
    literals = " ".join(prefix + string for prefix, string in zip(prefixes, strings, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.literal_eval(f"({literals})")
        except (SyntaxError, ValueError):
            raise Unsure from None
