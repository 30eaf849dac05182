"""The root of the command line: help, versions, failures, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from hardware_profiles.errors import TweelingError
from twin.cli.main import VERBS, run

FULL = Path("/dev/full")
"""A device that takes nothing, where there is one."""


def test_the_verbs_are_those_of_the_design():
    assert [verb.name for verb in VERBS] == [
        *("predict", "explain", "calibrate", "validate", "measurements", "roofline"),
        *("profiles", "models"),
    ]


def test_help_lists_every_verb_with_a_sentence(twin):
    answer = twin("--help")
    assert answer.code == 0
    for verb in VERBS:
        assert f"{verb.name} " in answer.out
        assert verb.help in answer.out


def test_version_names_the_distribution(twin):
    answer = twin("--version")
    assert answer.code == 0
    assert answer.out.startswith("tweeling ")


def test_an_unknown_verb_is_one_line_with_the_nearest(twin):
    answer = twin("predct")
    assert answer.code == 2
    assert answer.err_lines == [
        "twin: no verb 'predct'; did you mean predict? (see twin --help)",
    ]


def test_an_unknown_option_is_one_line_with_the_nearest(twin):
    answer = twin("predict", "--modle", "x")
    assert answer.code == 2
    assert len(answer.err_lines) == 1
    assert "--model" in answer.err


def test_a_tweeling_error_is_one_line_even_if_its_text_has_more(twin, fake, base):
    def refuse(_prediction):
        msg = "tp=3 does not divide\n  n_heads=32"
        raise TweelingError(msg)

    fake.change = staticmethod(refuse)
    answer = twin("predict", *base)
    assert answer.code == 2
    assert answer.err == "twin: tp=3 does not divide n_heads=32\n"
    assert answer.out == ""


def test_debug_shows_the_traceback_wherever_it_stands(twin, fake, base):
    def refuse(_prediction):
        msg = "no"
        raise TweelingError(msg)

    fake.change = staticmethod(refuse)
    for words in (("--debug", "predict", *base), ("predict", *base, "--debug")):
        answer = twin(*words)
        assert answer.code == 2
        assert "Traceback" in answer.err


def test_a_defect_is_one_line_and_a_crash_file(twin, fake, base, tmp_path):
    def fail(_prediction):
        return 1 / 0

    fake.change = staticmethod(fail)
    answer = twin("predict", *base)
    assert answer.code == 3
    (crash,) = tmp_path.glob("crash-????????-??????.txt")
    assert answer.err_lines == [
        f"twin: this is a defect: ZeroDivisionError: division by zero; details in {crash}"
    ]
    text = crash.read_text()
    assert "command: twin predict --cluster dgx-h100" in text
    assert "Traceback (most recent call last)" in text
    assert "python: 3." in text


def test_a_second_crash_in_the_same_second_keeps_the_first(twin, fake, base, tmp_path):
    fake.change = staticmethod(lambda _prediction: 1 / 0)
    for _ in range(2):
        assert twin("predict", *base).code == 3
    assert len(list(tmp_path.glob("crash-*.txt"))) == 2


def test_an_interrupt_is_quiet(twin, fake, base):
    def interrupt(_prediction):
        raise KeyboardInterrupt

    fake.change = staticmethod(interrupt)
    answer = twin("predict", *base)
    assert (answer.code, answer.out, answer.err) == (130, "", "")


def test_a_verb_that_asks_to_leave_is_obeyed(twin, fake, base):
    def leave(_prediction):
        raise click.exceptions.Exit(1)

    fake.change = staticmethod(leave)
    assert twin("predict", *base).code == 1


def test_a_reader_that_leaves_causes_no_noise(repository):
    program = "import sys; from twin.cli.main import run; sys.exit(run(['predict', '--help']))"
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as pipe:
        answer = subprocess.run(
            [sys.executable, "-c", program],
            stdout=pipe,
            stderr=subprocess.PIPE,
            cwd=repository,
            check=False,
        )
    assert answer.stderr == b""
    assert answer.returncode == 141


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", [["profiles", "list", "--json"], ["--help"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_output_that_cannot_be_written_is_one_line(repository, words, unbuffered):
    program = f"from twin.cli.main import run; import sys; sys.exit(run({words!r}))"
    with FULL.open("wb") as full:
        answer = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=repository,
            check=False,
        )
    assert answer.stderr == b"twin: the output cannot be written: No space left on device\n"
    assert answer.returncode == 2


def test_a_closed_output_is_no_defect(repository):
    program = (
        "import sys; sys.stdout = None; from twin.cli.main import run; sys.exit(run(['--help']))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, cwd=repository, check=False
    )
    assert (answer.returncode, answer.stderr) == (0, b"")


def test_an_error_of_a_file_is_no_full_output(twin, fake, base):
    def fail(_prediction):
        raise OSError(28, "No space left on device", "somewhere.txt")

    fake.change = staticmethod(fail)
    assert twin("predict", *base).code == 3


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_unicode_gets_a_result(repository, encoding):
    program = "import click; from twin.cli.main import run; import sys; sys.exit(run(['--help']))"
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        cwd=repository,
        check=False,
    )
    assert answer.returncode == 0
    assert answer.stderr == b""


def test_a_group_without_a_verb_shows_its_help(twin):
    answer = twin("validate")
    assert answer.code == 2
    assert "runs" in answer.err


def test_run_leaves_sys_argv_alone(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pytest", "--nonsense"])
    assert run(["--version"]) == 0
    capsys.readouterr()
