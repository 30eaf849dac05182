"""The console script: it says which package is in the way before anything fails to import."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

from tui.command import main, shadowed_floor

FLOORS = ("hardware_profiles", "kernels", "twin")


def lay_out(root, *names: str):
    """Lay out empty packages under `root`."""
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "__init__.py").write_text("")


@pytest.fixture
def shadow_of(repository):
    """Ask in a fresh process, whose search path begins with the given folders."""

    def ask(root, *search) -> str | None:
        program = (
            "import sys\n"
            "from pathlib import Path\n"
            f"sys.path.append({str(repository)!r})\n"
            "import tui.command as command\n"
            f"sys.path[:0] = {[str(folder) for folder in search]!r}\n"
            f"print(command.shadowed_floor(Path({str(root)!r})))\n"
        )
        answer = subprocess.run(
            [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
        )
        line = answer.stdout.strip()
        return None if line == "None" else line

    return ask


def test_the_floors_of_this_checkout_stand_together(repository):
    assert shadowed_floor(repository) is None


def test_all_floors_in_one_folder_are_no_shadow(shadow_of, tmp_path):
    lay_out(tmp_path, "tui", *FLOORS)
    assert shadow_of(tmp_path, tmp_path) is None


@pytest.mark.parametrize("name", FLOORS)
def test_a_package_from_elsewhere_is_named_with_its_path(shadow_of, tmp_path, name):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    lay_out(ours, "tui", *FLOORS)
    lay_out(theirs, name)
    said = shadow_of(ours, theirs, ours)
    assert repr(name) in said
    assert str(theirs / name) in said
    assert "environment of its own" in said
    assert "\n" not in said


def test_a_single_file_of_the_same_name_is_a_shadow(shadow_of, tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    lay_out(ours, "tui", *FLOORS)
    theirs.mkdir()
    (theirs / "kernels.py").write_text("")
    assert str(theirs / "kernels.py") in shadow_of(ours, theirs, ours)


def test_a_package_that_was_overwritten_in_place_is_a_shadow(shadow_of, tmp_path):
    lay_out(tmp_path, "tui", *FLOORS)
    (tmp_path / "kernels" / "__init__.py").write_text("from kernels.layer import Layer\n")
    assert "'kernels'" in shadow_of(tmp_path, tmp_path)


def test_the_script_prints_one_line_and_leaves_with_2(repository, tmp_path):
    lay_out(tmp_path, "kernels")
    program = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(repository)!r}]; "
        "from tui.command import main; sys.exit(main(['--version']))"
    )
    answer = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 2
    assert len(answer.stderr.splitlines()) == 1
    assert answer.stderr.startswith("twin: package 'kernels' is shadowed by")


def test_without_a_terminal_and_a_verb_there_is_help(repository):
    answer = subprocess.run(
        [sys.executable, "-m", "tui.command"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=repository,
        check=False,
    )
    assert answer.returncode == 0
    assert "Verbs:" in answer.stdout
    assert "tui" in answer.stdout


@pytest.fixture
def opened(monkeypatch):
    """Record how the terminal UI is opened instead of opening it."""
    calls = []

    def run(scenario_path, *, profile_dirs, measurements, serve=False):
        calls.append((scenario_path, profile_dirs, measurements, serve))
        return 0

    module = ModuleType("tui.run")
    module.run = run
    monkeypatch.setitem(sys.modules, "tui.run", module)
    return calls


def test_bare_twin_on_a_terminal_opens_the_ui(opened, monkeypatch):
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    assert main([]) == 0
    assert opened == [(None, (), (), False)]


def test_the_verb_passes_scenario_profiles_and_serving_on(opened, tmp_path):
    scenario = tmp_path / "scenario.toml"
    scenario.write_text("")
    more = ["--from", str(tmp_path / "mine.csv")]
    assert main(["tui", str(scenario), "--serve", "--profiles", str(tmp_path), *more]) == 0
    assert opened == [(scenario, (tmp_path,), (tmp_path / "mine.csv",), True)]


def test_a_scenario_that_is_not_there_is_one_line(opened, tmp_path, capsys):
    assert main(["tui", str(tmp_path / "absent.toml")]) == 2
    streams = capsys.readouterr()
    assert len(streams.err.splitlines()) == 1
    assert "absent.toml" in streams.err
    assert not opened
