"""Laws of undo, and the journal that survives a restart."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.tui.conftest import EXAMPLE
from tui.state import HISTORY_DEPTH, Session, read_journal, write_journal

edits = st.lists(
    st.tuples(st.sampled_from(["devices", "seq_len", "global_batch"]), st.integers(1, 50)),
    max_size=30,
)


def apply(session, steps):
    for name, value in steps:
        session.edit(replace(session.scenario, **{name: value}), f"{name} {value}")


@given(edits)
def test_as_many_undos_as_edits_give_the_start_and_redos_the_end(steps):
    session = Session.of(EXAMPLE)
    apply(session, steps)
    end = session.scenario
    while session.undo() is not None:
        pass
    assert session.scenario == EXAMPLE
    while session.redo() is not None:
        pass
    assert session.scenario == end


@given(edits, st.integers(1, 10))
def test_an_edit_after_undo_forgets_what_was_undone(steps, n_undos):
    session = Session.of(EXAMPLE)
    apply(session, steps)
    for _ in range(n_undos):
        session.undo()
    session.edit(replace(session.scenario, devices=777), "devices 777")
    assert session.redo() is None
    assert session.scenario.devices == 777


def test_keystrokes_in_one_field_are_one_edit():
    session = Session.of(EXAMPLE)
    for devices in (1, 12, 128):
        session.edit(replace(EXAMPLE, devices=devices), "devices", field_name="devices")
    assert session.n_changes == 1
    session.close_edit()
    session.edit(replace(EXAMPLE, devices=256), "devices", field_name="devices")
    assert session.n_changes == 2


def test_an_edit_that_changes_nothing_is_none():
    session = Session.of(EXAMPLE)
    assert not session.edit(replace(EXAMPLE), "nothing")
    assert session.n_changes == 0


def test_history_is_bounded():
    session = Session.of(EXAMPLE)
    for devices in range(1, HISTORY_DEPTH + 50):
        session.edit(replace(EXAMPLE, devices=devices), "devices")
    assert len(session.history) == HISTORY_DEPTH
    assert session.scenario.devices == HISTORY_DEPTH + 49


@given(edits)
def test_the_journal_gives_the_session_back(tmp_path_factory, steps):
    session = Session.of(EXAMPLE)
    apply(session, steps)
    session.undo()
    path = tmp_path_factory.mktemp("journal") / "deep" / "journal.json"
    write_journal(session, path)
    again = read_journal(path)
    assert again is not None
    assert again.scenario == session.scenario
    assert [e.scenario for e in again.history] == [e.scenario for e in session.history]
    assert again.saved == session.saved


def test_a_broken_journal_is_no_session(tmp_path):
    path = tmp_path / "journal.json"
    for text in ("", "{", "[]", '{"version": 1, "history": []}', '{"version": 99}'):
        path.write_text(text)
        assert read_journal(path) is None
    assert read_journal(tmp_path / "none.json") is None


def test_pins_are_kept_once():
    session = Session.of(EXAMPLE)
    assert session.pin()
    assert not session.pin()
    assert session.unpin()
    assert not session.unpin()
