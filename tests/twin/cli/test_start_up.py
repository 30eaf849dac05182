"""What a fresh process imports: the start-up time is made of nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"numba", "xarray", "scipy", "pandas", "textual", "pyarrow", "zarr", "matplotlib"}
PREDICT = (
    *("predict", "--cluster", "dgx-h100", "--devices", "64", "--model", "llama-3-8b"),
    *("--seq-len", "8192", "--global-batch", "512", "--json"),
)


def imported_by(*words: str, cwd) -> set[str]:
    program = (
        "import sys; from tui.command import main; "
        f"code = main({list(words)!r}); assert code == 0, code; "
        "print('\\n'.join(['MODULES', *(name for name in sys.modules if '.' not in name)]))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=cwd, check=True
    )
    return set(answer.stdout.split("MODULES\n")[1].splitlines())


@pytest.mark.parametrize("words", [("--help",), ("predict", "--help"), ("--version",)])
def test_help_imports_next_to_nothing(repository, words):
    assert not imported_by(*words, cwd=repository) & (HEAVY | {"numpy", "msgspec"})


def test_predict_imports_nothing_heavy(repository):
    assert not imported_by(*PREDICT, cwd=repository) & (HEAVY | {"numpy"})


def test_validating_runs_imports_no_plots(repository):
    assert not imported_by("validate", "runs", "--json", cwd=repository) & {"matplotlib", "textual"}
