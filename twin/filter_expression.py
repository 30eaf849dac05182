"""Filters that people type: ``mem>100 bf16>900 vendor:amd h200 -pcie``.

Terms are parted by blanks and all of them have to hold:

- ``name>number`` with ``>``, ``<``, ``>=``, ``<=`` or ``=`` compares a figure. The number is in the
  unit of the screen unless it says otherwise: ``mem>100`` and ``mem>100GB`` are the same.
- ``name:text`` asks whether a text holds another; ``name:n/a`` finds what is not known.
- Any other word has to occur in a name, a title, an alias or another text.
- A minus before a term turns it round. Quotes keep blanks: ``"mi 300"``.

A term that is not finished, such as ``mem>``, is left out and said, so that a filter narrows while
it is typed.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hardware_profiles.errors import TweelingError, nearest

__all__ = ["COMPARE", "GRAMMAR", "Comparison", "Filter", "Term", "holds", "parse_filter"]

Comparison = Literal[">", "<", ">=", "<=", "=", ":"]

GRAMMAR = (
    "terms parted by blanks, all have to hold",
    "  mem>100  bf16>=900  tdp<700  year=2024   a figure; units: 100, 100GB, 1.2kW, 3TB/s",
    "  vendor:amd  arch:hopper  mem:n/a         a text; n/a finds what is not known",
    "  h200  nvl  \"mi 300\"                      a word of a name, a title or another text",
    "  -pcie  -vendor:nvidia                    a minus turns a term round",
)  # fmt: skip

NEAR_FRACTION = 0.005
"""How far a value may be from the one asked for, as it was rounded for the screen. [1]"""

NOT_KNOWN = ("n/a", "unknown", "-")

_TERM = re.compile(
    r"""(-?)(?:([a-z_][\w.]*)\s*(>=|<=|>|<|=|:)(?:\s+(?=[\d.]))?)?("[^"]*"?|\S*)""", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One condition."""

    field: str | None
    """Full name of what is compared; None for a word that may occur anywhere."""
    comparison: Comparison
    number: float | None
    """What to compare with, in base units; None for a text."""
    text: str
    """In small letters."""
    is_negated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Conditions that all have to hold."""

    terms: tuple[Term, ...] = ()
    problem: str | None = None
    """What is not finished or wrong, in words; the terms are those that stand."""


def parse_filter(
    text: str, *, fields: Mapping[str, str], parse: Callable[[str, str], float]
) -> Filter:
    """Read a filter.

    Parameters
    ----------
    text
        What was typed.
    fields
        Full name of each field by the names that may be typed for it.
    parse
        Value in base units of (full name, text); raises a `TweelingError` where it is none.
    """
    terms: list[Term] = []
    problem = None
    for found in _TERM.finditer(text):
        if not found[0]:
            continue
        try:
            term = _term(found, fields=fields, parse=parse)
        except TweelingError as error:
            problem = str(error)
            continue
        if term is not None:
            terms.append(term)
    return Filter(terms=tuple(terms), problem=problem)


class FilterError(TweelingError):
    """A term cannot be read."""


def _term(
    found: re.Match[str], *, fields: Mapping[str, str], parse: Callable[[str, str], float]
) -> Term | None:
    is_negated, name, comparison, value = bool(found[1]), found[2], found[3], found[4]
    text = value.strip('"').lower()
    if name is None:
        if not text:
            return None
        return Term(field=None, comparison=":", number=None, text=text, is_negated=is_negated)
    field = _field(name, fields)
    if not text:
        msg = f"{name}{comparison} …: expected a value"
        raise FilterError(msg)
    number = None
    if comparison != ":" and text not in NOT_KNOWN:
        try:
            number = parse(field, text)
        except TweelingError as error:
            if comparison != "=":
                msg = f"{name}{comparison}{text}: {error}"
                raise FilterError(msg) from error
    return Term(
        field=field,
        comparison=comparison,  # type: ignore[arg-type]  # the pattern knows no others
        number=number,
        text=text,
        is_negated=is_negated,
    )


def _field(name: str, fields: Mapping[str, str]) -> str:
    known = fields.get(name.lower())
    if known is not None:
        return known
    if "." in name:
        return name
    close = nearest(name, fields, n=3)
    hint = f"nearest {', '.join(close)}" if close else f"known are {', '.join(sorted(fields))}"
    msg = f"{name}: no such field; {hint}"
    raise FilterError(msg)


def holds(term: Term, value: float | str | None) -> bool:
    """Whether one value satisfies a term, apart from its minus."""
    if value is None:
        return term.text in NOT_KNOWN and term.comparison in (":", "=")
    if isinstance(value, str):
        return value.lower() == term.text if term.comparison == "=" else term.text in value.lower()
    if term.number is None:
        return term.text in f"{value:g}" and term.text not in NOT_KNOWN
    return bool(COMPARE[term.comparison](value, term.number))


def _is_near(value: Any, number: float) -> Any:  # noqa: ANN401 - numbers and arrays alike
    return abs(value - number) <= NEAR_FRACTION * abs(number)


COMPARE: Mapping[Comparison, Callable[[Any, float], Any]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "=": _is_near,
    ":": _is_near,
}
"""What each comparison asks of a number, or of an array of them."""
