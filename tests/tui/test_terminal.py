"""A real terminal: tmux at 80x24 on the real twin, as an architect would use it."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import time

import pytest

pytestmark = [
    pytest.mark.terminal,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]

MAIN = "from tui.command import main; raise SystemExit(main())"
PATIENCE_S = 30.0


class Terminal:
    """One tmux window of 80 columns and 24 rows."""

    def __init__(self, name, command, environment):
        self.name = name
        settings = " ".join(f"{k}={shlex.quote(v)}" for k, v in environment.items())
        self._tmux("new-session", "-d", "-x", "80", "-y", "24", f"env {settings} {command}")

    def _tmux(self, verb, *words):
        target = ["-s" if verb == "new-session" else "-t", self.name]
        return subprocess.run(
            ["tmux", "-L", self.name, verb, *target, *words],
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def press(self, *keys):
        self._tmux("send-keys", *keys)

    def screen(self):
        return self._tmux("capture-pane", "-p")

    def wait_for(self, *choices):
        """Text of the screen once any of `choices` stands in it and the screen is at rest.

        One capture may be half painted, so two in a row must be alike.
        """
        deadline = time.monotonic() + PATIENCE_S
        before = ""
        while time.monotonic() < deadline:
            text = self.screen()
            if text == before and any(words in text for words in choices):
                return text
            before = text
            time.sleep(0.05)
        pytest.fail(f"none of {choices} showed:\n{self.screen()}")

    def close(self):
        subprocess.run(["tmux", "-L", self.name, "kill-server"], check=False, capture_output=True)


@pytest.fixture
def terminal(tmp_path, request):
    environment = {
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "LANG": "C.UTF-8",
        "PYTHONPATH": ":".join(sys.path),
        "TEXTUAL_ANIMATIONS": "none",
        "TWEELING_DATA_DIR": str(tmp_path / "no-data"),
    }
    name = f"tweeling-{abs(hash(str(tmp_path))) % 10**8}"
    command = f"{shlex.quote(sys.executable)} -c 'from tui.command import main; main([\"tui\"])'"
    window = Terminal(name, command, environment)
    yield window
    window.close()


def test_from_opening_to_why_and_the_command(terminal):
    text = terminal.wait_for("gemm bwd")
    assert "ai-factory-groningen"[:15] in text
    assert "tokens/s" in text
    assert "predicted in" in text

    terminal.press("w")
    tree = terminal.wait_for("sum over causes")
    assert "gemm_forward" in tree
    # Escape followed at once by a letter would be that letter with alt.
    terminal.press("Escape")
    terminal.wait_for("configuration")

    terminal.press("j", "-")
    terminal.wait_for("changes 1")
    terminal.press("!")
    shown = terminal.wait_for("twin predict")
    flat = " ".join(line.strip(" │╭╮╰╯─▕\n") for line in shown.splitlines())
    command = flat[flat.index("twin predict") :].split("y copy")[0].split("  ")[0]
    assert "--devices 512" in command
    words = shlex.split(command)
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *words[1:], "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    printed = json.loads(done.stdout)
    terminal.press("Escape")
    rate = printed["tokens_per_s"]
    terminal.wait_for(f"{rate / 1e3:.1f}", f"{rate / 1e6:.3f}")


def test_published_runs_that_come_with_the_twin(terminal):
    terminal.wait_for("gemm bwd")
    terminal.press("9")
    text = terminal.wait_for("left out (decides)")
    assert "built-in table" in text
    assert "measured step time" in text
    terminal.press("b")
    groups = terminal.wait_for("error by vendor")
    assert "in-sample %" in groups
    terminal.press("b", "L")
    terminal.wait_for("predicted, in-sample")
    terminal.press("!")
    terminal.wait_for("twin validate runs")


def test_it_leaves_the_terminal_as_it_was(terminal):
    terminal.wait_for("gemm bwd")
    terminal.press("q")
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        listing = subprocess.run(
            ["tmux", "-L", terminal.name, "list-sessions"],
            check=False,
            capture_output=True,
            text=True,
        )
        if listing.returncode != 0:
            return
        time.sleep(0.05)
    pytest.fail("q did not end the program")
