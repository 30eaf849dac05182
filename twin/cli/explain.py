"""The verb ``twin explain``: the tree of terms behind each number."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from hardware_profiles.errors import TweelingError
from twin.cli.output import current_command, emit_json
from twin.cli.scenario_options import takes_scenario, whole_number
from twin.explain.term import Term
from twin.quantities import significant
from twin.scenario.scenario import Scenario

__all__ = ["ExplainError", "explain", "tree_lines"]

DEFAULT_QUANTITY = "step_time_s"
JOINTS = {"sum": "+", "product": "x", "quotient": "/", "maximum": "max", "formula": "f"}


class ExplainError(TweelingError):
    """There is no tree for what was asked."""


@click.command()
@takes_scenario
@click.option(
    "--quantity",
    "name",
    metavar="NAME",
    help=f"The number to explain; {DEFAULT_QUANTITY} by default, in JSON all of them.",
)
@click.option(
    "--depth",
    type=whole_number(minimum=1, maximum=100),
    default=3,
    show_default=True,
    metavar="N",
    help="Levels of the printed tree; JSON has them all.",
)
def explain(
    *,
    scenario: Scenario,
    profile_dirs: tuple[Path, ...],
    as_json: bool,
    name: str | None,
    depth: int,
) -> int:
    """Print the tree of terms behind each predicted number.

    The children of a sum add up to it; every leaf is a figure of a profile, of the model or of
    the command line, with its class and source.
    """
    from twin.predict import Predictor

    predictor = Predictor(profile_dirs)
    terms = predictor.explain(scenario)
    if not as_json:
        tree = _pick(terms, name or DEFAULT_QUANTITY)
        click.echo("\n".join(tree_lines(tree, depth=depth)))
        return 0
    chosen = terms if name is None else {name: _pick(terms, name)}
    hashes = predictor.predict(scenario).profile_hashes
    emit_json({"terms": chosen}, command=current_command(), profile_hashes=hashes)
    return 0


def _pick(terms: Mapping[str, Term], name: str) -> Term:
    if name in terms:
        return terms[name]
    nearest = difflib.get_close_matches(name, terms, n=1, cutoff=0.0)
    hint = f"; nearest is {nearest[0]}" if nearest else ""
    msg = f"--quantity {name!r} is not explained; expected one of {', '.join(terms)}{hint}"
    raise ExplainError(msg)


def tree_lines(term: Term, *, depth: int) -> list[str]:
    """Lines of a tree, one term each: name, value, unit, formula or source, class.

    A part of a sum says its share of it.
    """
    return [_line(term, share=""), *_below(term, depth=depth, trunk="")]


def _below(term: Term, *, depth: int, trunk: str) -> Iterator[str]:
    """Lines of everything below a term."""
    if not term.children:
        return
    if depth <= 1:
        yield f"{trunk}`- {_n_terms(term) - 1} more below; --depth shows them"
        return
    last = len(term.children) - 1
    for index, child in enumerate(term.children):
        branch, side = ("`- ", "   ") if index == last else ("|- ", "|  ")
        yield trunk + branch + _line(child, share=_share(child, term))
        yield from _below(child, depth=depth - 1, trunk=trunk + side)


def _share(part: Term, whole: Term) -> str:
    if whole.relation != "sum" or whole.value == 0:
        return ""
    return f"{part.value / whole.value:.1%}"


def _line(term: Term, *, share: str) -> str:
    unit = "" if term.unit == "1" else term.unit
    value = " ".join(filter(None, (significant(term.value, n_digits=5), unit)))
    joint = JOINTS.get(term.relation, "")
    origin = term.formula if term.children else term.source
    mark = "" if term.figure_class == "computed" else f"[{term.figure_class}]"
    notes = "  ".join(filter(None, (share, mark, f"({joint})" if joint else "", origin)))
    return f"{term.name} = {value}" + (f"  {notes}" if notes else "")


def _n_terms(term: Term) -> int:
    return 1 + sum(map(_n_terms, term.children))
