"""SPDX expressions: parsing, and whether an allow-list admits one (AND: all, OR: any, WITH understood)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from license_expression import ExpressionError, LicenseWithExceptionSymbol, Licensing, get_spdx_licensing


@cache
def licensing() -> Licensing:
    """The SPDX licence list that `license-expression` ships, loaded once (0.3 s)."""
    return get_spdx_licensing()


def parse(expression: str):
    """The parsed expression, or None when it is empty, malformed or names a licence that SPDX does not list."""
    try:
        parsed = licensing().parse(expression, validate=True, strict=True)
    except (ExpressionError, AttributeError, TypeError):
        return None
    return parsed


def unknown_licences(identifiers: Iterable[str]) -> list[str]:
    """Those of `identifiers` that are not one SPDX licence, or one `ID WITH EXCEPTION`."""
    return [name for name in identifiers if (parsed := parse(name)) is None or str(parsed) != name or not _is_leaf(parsed)]


def admitted(expression: str, allow: Sequence[str]) -> bool:
    """Does the allow-list admit this SPDX expression? Unknown and empty expressions: no."""
    parsed = parse(expression)
    return parsed is not None and _admits(parsed, frozenset(allow))


def rank(expression: str, allow: Sequence[str]) -> int:
    """The position in the allow-list of the expression's last-ranked licence; len(allow) when one is not listed."""
    parsed = parse(expression)
    if parsed is None:
        return len(allow)
    order = {name: position for position, name in enumerate(allow)}
    return _rank(parsed, order)


def _is_leaf(node) -> bool:
    return isinstance(node, LicenseWithExceptionSymbol) or not getattr(node, "args", ())


def _operator(node) -> str:
    return type(node).__name__


def _admits(node, allow: frozenset[str]) -> bool:
    if _is_leaf(node):
        return str(node) in allow
    parts = [_admits(part, allow) for part in node.args]
    return all(parts) if _operator(node) == "AND" else any(parts)


def _rank(node, order: dict[str, int]) -> int:
    if _is_leaf(node):
        return order.get(str(node), len(order))
    parts = [_rank(part, order) for part in node.args]
    return max(parts) if _operator(node) == "AND" else min(parts)
