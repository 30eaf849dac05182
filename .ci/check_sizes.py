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
FORBIDDEN_NAMES = ("utils", "util", "common", "helpers", "helper", "misc")

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
    for function in _functions(ast.parse(text, filename=str(shown))):
        where = f"{shown}:{function.lineno} {function.name}"
        n_body = _body_lines(function)
        if n_body > MAX_FUNCTION_LINES:
            yield f"{where}: {n_body} lines; at most {MAX_FUNCTION_LINES}"
        n_parameters = _n_parameters(function)
        if is_code and n_parameters > MAX_PARAMETERS:
            what = f"{n_parameters} parameters; at most {MAX_PARAMETERS}"
            yield f"{where}: {what}, then a dataclass is missing"


def _functions(tree: ast.Module) -> list[Function]:
    found = [node for node in ast.walk(tree) if isinstance(node, Function)]
    return sorted(found, key=lambda function: function.lineno)


def _body_lines(function: Function) -> int:
    """Lines from the first statement after the docstring to the end."""
    body = function.body
    if ast.get_docstring(function, clean=False) is not None:
        body = body[1:]
    return 0 if not body else (function.end_lineno or 0) - body[0].lineno + 1


def _n_parameters(function: Function) -> int:
    """Parameters without self and cls; ruff counts those that are positional."""
    arguments = function.args
    named = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    return sum(argument.arg not in {"self", "cls"} for argument in named)


def main() -> int:
    """Check the repository that this file belongs to."""
    found = list(offences(Path(__file__).resolve().parent.parent))
    for line in found:
        print(line)
    print(f"sizes: {len(found)} offences" if found else "sizes: within the limits")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
