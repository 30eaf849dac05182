"""Refuse files and functions that nobody can review; the limits are those of CONTRIBUTING.md.

Prints one line per offence and exits with 1 when there is one. Standard library only.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

CODE = ("twin", "kernels", "hardware_profiles", "tui")
CHECKED = (*CODE, "tests", "benches", ".ci")
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 7
MAX_POSITIONAL = 5
"""Style asks for keyword-only after the second; this is where a reader is lost for certain."""
FORBIDDEN_NAMES = ("utils", "util", "common", "helpers", "helper", "misc")
# Formulas that are compiled over columns are called by position.
COMPILED = ("kernels",)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def offences(root: Path) -> Iterator[str]:
    """Everything under `root` that is over a limit, one line each."""
    for folder in CHECKED:
        for path in sorted((root / folder).rglob("*.py")):
            if "__pycache__" not in path.parts:
                yield from _in_file(path, shown=path.relative_to(root))


def _in_file(path: Path, *, shown: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    n_lines = text.count("\n")
    if n_lines > MAX_FILE_LINES:
        yield f"{shown}: {n_lines} lines; at most {MAX_FILE_LINES}"
    if path.stem in FORBIDDEN_NAMES:
        yield f"{shown}: the name says nothing; name it after what it holds"
    is_code = shown.parts[0] in CODE
    tree = ast.parse(text, filename=str(shown))
    for function, is_method in _functions(tree, is_method=False):
        where = f"{shown}:{function.lineno} {function.name}"
        n_body = _body_lines(function)
        if n_body > MAX_FUNCTION_LINES:
            yield f"{where}: {n_body} lines; at most {MAX_FUNCTION_LINES}"
        if is_code:
            yield from _parameters(function, where=where, is_free=is_method or _is_formula(shown))


def _functions(node: ast.AST, *, is_method: bool) -> Iterator[tuple[Function, bool]]:
    """Every function below a node, and whether it is a method or inside one."""
    for child in ast.iter_child_nodes(node):
        inside = is_method or isinstance(child, ast.ClassDef)
        if isinstance(child, Function):
            yield child, inside
        yield from _functions(child, is_method=inside)


def _body_lines(function: Function) -> int:
    """Lines from the first statement after the docstring to the end."""
    body = function.body
    if ast.get_docstring(function, clean=False) is not None:
        body = body[1:]
    return 0 if not body else (function.end_lineno or 0) - body[0].lineno + 1


def _parameters(function: Function, *, where: str, is_free: bool) -> Iterator[str]:
    """Too many parameters, or too many of them by position.

    A decorated function is called by its decorator and a method may override a foreign one, so
    only the sum counts there.
    """
    arguments = function.args
    positional = [
        argument.arg
        for argument in (*arguments.posonlyargs, *arguments.args)
        if argument.arg not in {"self", "cls"}
    ]
    n_all = len(positional) + len(arguments.kwonlyargs)
    if n_all > MAX_PARAMETERS:
        yield f"{where}: {n_all} parameters; at most {MAX_PARAMETERS}, then a dataclass is missing"
    is_private = function.name.startswith("_")
    if is_free or is_private or function.decorator_list:
        return
    if len(positional) > MAX_POSITIONAL:
        yield f"{where}: {len(positional)} parameters by position; at most {MAX_POSITIONAL}"


def _is_formula(shown: Path) -> bool:
    return shown.parts[0] in COMPILED


def main() -> int:
    """Check the repository that this file belongs to."""
    found = list(offences(Path(__file__).resolve().parent.parent))
    for line in found:
        print(line)
    print(f"sizes: {len(found)} offences" if found else "sizes: within the limits")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
