"""The console script ``twin``.

The names of the floors are short, and another distribution may bring a package of the same name
to the same environment. That is checked first, with the standard library alone, because the
resulting ImportError would say nothing useful.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

__all__ = ["main"]

FLOORS = ("twin", "kernels", "hardware_profiles")
ROOT = Path(__file__).resolve().parent.parent
EXIT_BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; without a verb, open the terminal UI if there is a terminal."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    shadow = shadowed_floor(ROOT)
    if shadow is not None:
        sys.stderr.write(f"twin: {shadow}\n")
        return EXIT_BAD_INPUT
    from twin.cli.lazy_group import Verb
    from twin.cli.main import run

    tui = Verb(name="tui", target="tui.verb:tui", help="The terminal UI; the same as `twin` alone.")
    return run(words or _without_a_verb(), more_verbs=(tui,))


def shadowed_floor(root: Path) -> str | None:
    """Say in one line which floor comes from elsewhere; None when all stand beside `root`/tui."""
    for name in FLOORS:
        found = _folder(find_spec(name))
        if found is None:
            return f"package {name!r} is missing beside {root / 'tui'}; install Tweeling again"
        if found != root / name or _imports_something(found / "__init__.py"):
            return (
                f"package {name!r} is shadowed by {found} (expected {root / name}); "
                "install Tweeling in an environment of its own"
            )
    return None


def _folder(spec: ModuleSpec | None) -> Path | None:
    """Where a package, or a single file of the same name, lies."""
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin).resolve() if spec.origin else None


def _imports_something(init: Path) -> bool:
    """Whether a package's first file is another distribution's.

    Two distributions in one environment write into the same folder, and the later one replaces
    ``__init__.py``. Those of the floors import nothing.
    """
    try:
        lines = init.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return True
    return any(line.startswith(("import ", "from ")) for line in lines)


def _without_a_verb() -> list[str]:
    has_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return ["tui"] if has_terminal else ["--help"]


if __name__ == "__main__":
    sys.exit(main())
