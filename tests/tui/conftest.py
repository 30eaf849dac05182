"""Apps on the fake twin, with a home of their own."""

from __future__ import annotations

import pytest

from tests.tui.fake_twin import FakeTwin
from tui.app import TweelingApp
from tui.state import Session
from twin.scenario.scenario import Scenario

EXAMPLE = Scenario(
    cluster="dgx-h100", devices=64, model="llama-3-8b", seq_len=8192, global_batch=512
)


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Journal and settings of a test never touch those of the user."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")


@pytest.fixture
def fake():
    return FakeTwin()


@pytest.fixture
def app(fake):
    return TweelingApp(lambda: fake, Session.of(EXAMPLE), is_ascii=False)
