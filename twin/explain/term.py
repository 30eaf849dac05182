"""The tree of terms behind a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["FigureClass", "Relation", "Term"]

FigureClass = Literal["measured", "fitted", "datasheet", "assumed", "user", "computed"]
Relation = Literal["sum", "product", "quotient", "maximum", "formula", "input"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One predicted number with the numbers it is made of."""

    name: str
    value: float
    unit: str
    relation: Relation = "input"
    """How the children make the value; the children of a sum add up to it."""
    formula: str = ""
    """The formula with names in it."""
    figure_class: FigureClass = "computed"
    source: str = ""
    """Document, profile key or fit that an input comes from."""
    children: tuple[Term, ...] = ()
