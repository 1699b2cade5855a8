"""SPDX expressions: parsing, and whether an allow-list admits one (AND: all, OR: any, WITH: itself or its base)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache

from license_expression import LicenseSymbol, LicenseWithExceptionSymbol, Licensing, get_spdx_licensing

#: A licence of somebody's own making (SPDX specification, annex "SPDX license expressions").
LICENSE_REF = re.compile(r"(DocumentRef-[A-Za-z0-9.-]+:)?LicenseRef-[A-Za-z0-9.-]+")

LONGEST = 4000  # characters of an expression; the longest seen in a distribution's metadata has 83

#: SPDX exceptions that take something away as well (FreeRTOS: no benchmarks without consent): their base does not
#: admit them.
RESTRICTING = frozenset({"freertos-exception-2.0"})

#: Deprecated identifiers that pack an exception, or another licence's text, into the name (SPDX list, deprecated ids).
DEPRECATED = {
    "BSD-2-Clause-FreeBSD": "BSD-2-Clause-Views",
    "BSD-2-Clause-NetBSD": "BSD-2-Clause",
    "bzip2-1.0.5": "bzip2-1.0.6",
    "eCos-2.0": "GPL-2.0-or-later WITH eCos-exception-2.0",
    "wxWindows": "LGPL-2.0-or-later WITH WxWindows-exception-3.1",
    "GPL-2.0-with-autoconf-exception": "GPL-2.0-only WITH Autoconf-exception-2.0",
    "GPL-2.0-with-bison-exception": "GPL-2.0-only WITH Bison-exception-2.2",
    "GPL-2.0-with-classpath-exception": "GPL-2.0-only WITH Classpath-exception-2.0",
    "GPL-2.0-with-font-exception": "GPL-2.0-only WITH Font-exception-2.0",
    "GPL-2.0-with-GCC-exception": "GPL-2.0-only WITH GCC-exception-2.0",
    "GPL-3.0-with-autoconf-exception": "GPL-3.0-only WITH Autoconf-exception-3.0",
    "GPL-3.0-with-GCC-exception": "GPL-3.0-only WITH GCC-exception-3.1",
}
_DEPRECATED = {name.lower(): now for name, now in DEPRECATED.items()}
_TOKEN = re.compile(r"[A-Za-z0-9.:_-]+\+?")
_VAGUE = re.compile(r"(?<![\w.-])GPL(?![\w.+-])", re.I)  # an alias in the library's list, but of which version?
_OPERATORS = {"and", "or", "with"}


@cache
def licensing() -> Licensing:
    """The SPDX licence list that `license-expression` ships, loaded once (0.3 s)."""
    return get_spdx_licensing()


@cache
def known_identifiers() -> dict[str, str]:
    """Lower-cased identifiers and aliases of licences (no exceptions) -> the identifier."""
    symbols = [symbol for symbol in licensing().known_symbols.values() if not symbol.is_exception]
    names = {alias.lower(): symbol.key for symbol in symbols for alias in symbol.aliases}
    return names | {symbol.key.lower(): symbol.key for symbol in symbols}


@cache
def known_exceptions() -> dict[str, str]:
    """Lower-cased identifiers of exceptions -> the identifier."""
    return {key.lower(): key for key, symbol in licensing().known_symbols.items() if symbol.is_exception}


@lru_cache(maxsize=8192)
def parse(expression: str):
    """The parsed expression, or None when it is empty, malformed or names a licence that SPDX does not list.

    Deprecated identifiers become what they stand for, in any case of letters; ``ID+`` becomes ID-or-later, or ID where
    SPDX lists no such identifier (the first version is always among those granted). A LicenseRef is somebody's own
    licence: well-formed, so it parses, and admitted only by an allow-list that names it.
    """
    if not expression or "/" in expression or len(expression) > LONGEST or _VAGUE.search(expression):
        return None
    try:
        parsed = licensing().parse(_TOKEN.sub(_modern, expression), validate=False, strict=True)
        unknown = [] if parsed is None else licensing().unknown_license_keys(parsed)
    except Exception:  # noqa: BLE001 - besides ExpressionError the parser lets IndexError and others out on bad input
        return None
    return parsed if all(LICENSE_REF.fullmatch(key) for key in unknown) else None


def _modern(match: re.Match[str]) -> str:
    token = match[0]
    if now := _DEPRECATED.get(token.lower()):
        return f"({now})" if " " in now else now
    if token.lower() in _OPERATORS or token.lower() in known_identifiers():
        return token
    if token.endswith("+") and token[:-1].lower() in known_identifiers():
        return known_identifiers().get(f"{token[:-1]}-or-later".lower(), token[:-1])
    return token


def canonical(expression: str) -> str:
    """The expression in one spelling: current identifiers in their listed case, repeated terms once; "" if unknown."""
    parsed = parse(expression)
    if parsed is None:
        return ""
    return str(licensing().dedup(parsed)) if parsed.__class__.__name__ in ("AND", "OR") else str(parsed)


def leaves(expression: str) -> list[str]:
    """The licences of an expression in order, each once, ``ID WITH EXCEPTION`` whole; [] if it is unknown."""
    parsed = parse(expression)
    return [] if parsed is None else list(dict.fromkeys(str(leaf) for leaf in _leaves(parsed)))


def unknown_licences(identifiers: Iterable[str]) -> list[str]:
    """Those of `identifiers` that are not one SPDX licence, or one `ID WITH EXCEPTION`."""
    return [
        name for name in identifiers if (parsed := parse(name)) is None or str(parsed) != name or not _is_leaf(parsed)
    ]


def admitted(expression: str, allow: Sequence[str]) -> bool:
    """Does the allow-list admit this SPDX expression? Unknown and empty expressions: no.

    ``ID WITH EXCEPTION`` is admitted where ID is, since an exception gives permissions beyond the licence; the few
    exceptions that also take some away must be listed themselves, and so must exceptions that SPDX does not list.
    """
    parsed = parse(expression)
    return parsed is not None and _admits(parsed, frozenset(allow))


def rank(expression: str, allow: Sequence[str]) -> int:
    """The position in the allow-list of the expression's last-ranked licence; len(allow) when one is not listed."""
    parsed = parse(expression)
    if parsed is None:
        return len(allow)
    order = {name: position for position, name in reversed(list(enumerate(allow)))}
    return _rank(parsed, order, len(allow))


def _is_leaf(node) -> bool:
    return isinstance(node, LicenseWithExceptionSymbol) or not getattr(node, "args", ())


def _leaves(node) -> Iterator[LicenseSymbol]:
    if _is_leaf(node):
        yield node
    else:
        for part in node.args:
            yield from _leaves(part)


def _operator(node) -> str:
    return type(node).__name__


def _names(leaf) -> list[str]:
    """Under which names an allow-list may admit this leaf."""
    if not isinstance(leaf, LicenseWithExceptionSymbol):
        return [str(leaf)]
    exception = leaf.exception_symbol.key
    only_itself = exception in RESTRICTING or exception.startswith("LicenseRef-")
    return [str(leaf)] if only_itself else [str(leaf), str(leaf.license_symbol)]


def _admits(node, allow: frozenset[str]) -> bool:
    if _is_leaf(node):
        return any(name in allow for name in _names(node))
    parts = [_admits(part, allow) for part in node.args]
    return all(parts) if _operator(node) == "AND" else any(parts)


def _rank(node, order: dict[str, int], last: int) -> int:
    if _is_leaf(node):
        return next((order[name] for name in _names(node) if name in order), last)
    parts = [_rank(part, order, last) for part in node.args]
    return max(parts) if _operator(node) == "AND" else min(parts)
