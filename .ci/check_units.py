"""Refuse a public number of the physics whose name does not say its unit.

Every parameter and field that is annotated as a float, in the modules listed below, ends in a
known unit or stands in the short list of ratios with names of their own. Prints one line per
offence and exits with 1 when there is one. Standard library only.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PHYSICS = (
    "kernels/*/model.py",
    "twin/training/**/*.py",
    "twin/energy/**/*.py",
    "twin/hpl/**/*.py",
)
SUFFIXES = (
    "_s",
    "_hz",
    "_bytes",
    "_flop",
    "_w",
    "_j",
    "_c",
    "_k",
    "_eur",
    "_kg_co2e",
    "_m3",
    "_per_s",
    "_per_flop",
    "_per_byte",
    "_per_token",
    "_per_device",
    "_fraction",
    "_factor",
    "_ratio",
    "_share",
    "_exponent",
    "_slope",
    "_gain",
    "_tokens",
    "_elements",
    "_bits",
    "_len",
    "_layers",
    "_kernels",
    "_passes",
    "_casts",
    "_blocks",
)
PREFIXES = ("n_", "p_", "i_")
# A unit may be followed by what it is counted per.
INFIXES = (
    "_bytes_per_",
    "_flop_per_",
    "_s_per_",
    "_w_per_",
    "_j_per_",
    "_per_clock_per_",
    "_fraction_per_",
    "_kernels_per_",
    "_layers_",
)
# Ratios, shapes and counts that have names of their own; each is a pure number, or flop.
BARE = frozenset(
    {
        "mfu", "hfu", "pue", "tp", "pp", "vpp", "dp", "cp", "ep", "m", "n", "k",
        "tile_m", "tile_n", "batch", "heads", "kv_heads", "head_dim", "ranks", "fill_depth",
        "oversubscription", "low_latency_slowdown", "flop", "waves", "tile", "depth", "products",
        "query_block", "narrow_query_block", "least_query_block", "launches",
        "key_block", "least_head_dim",
    }
)  # fmt: skip

Function = ast.FunctionDef | ast.AsyncFunctionDef


def offences(root: Path) -> Iterator[str]:
    """Every public float without a unit under `root`, one line each."""
    for pattern in PHYSICS:
        for path in sorted(root.glob(pattern)):
            yield from _in_file(path, shown=path.relative_to(root))


def _in_file(path: Path, *, shown: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(shown))
    for owner, name, line in _public_floats(tree):
        if not says_unit(name):
            yield f"{shown}:{line} {owner}: {name} is a float and its name has no unit"


def says_unit(name: str) -> bool:
    """Whether a name ends in a unit, counts something, or is a known pure number."""
    return (
        name in BARE
        or name.endswith(SUFFIXES)
        or name.startswith(PREFIXES)
        or any(infix in name for infix in INFIXES)
    )


def _public_floats(tree: ast.Module) -> Iterator[tuple[str, str, int]]:
    """Owner, name and line of float parameters of public functions and of fields of classes."""
    for node in tree.body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield from _float_parameters(node, owner=node.name)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _float_members(node)


def _float_members(node: ast.ClassDef) -> Iterator[tuple[str, str, int]]:
    for member in node.body:
        if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
            if _is_float(member.annotation):
                yield node.name, member.target.id, member.lineno
        elif isinstance(member, Function) and not member.name.startswith("_"):
            yield from _float_parameters(member, owner=f"{node.name}.{member.name}")


def _float_parameters(node: Function, *, owner: str) -> Iterator[tuple[str, str, int]]:
    for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
        if argument.annotation is not None and _is_float(argument.annotation):
            yield owner, argument.arg, argument.lineno


def _is_float(annotation: ast.expr) -> bool:
    """Whether an annotation is ``float`` or ``float | None``."""
    if isinstance(annotation, ast.BinOp):
        return _is_float(annotation.left) or _is_float(annotation.right)
    return isinstance(annotation, ast.Name) and annotation.id == "float"


def main() -> int:
    """Check the repository that this file belongs to."""
    found = list(offences(Path(__file__).resolve().parent.parent))
    for line in found:
        print(line)
    print(f"units: {len(found)} offences" if found else "units: every name says its unit")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
