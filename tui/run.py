"""Start the terminal UI."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hardware_profiles.errors import TweelingError

if TYPE_CHECKING:
    from tui.compute import RealTwin
    from tui.state import Session
    from twin.scenario.scenario import Scenario

__all__ = ["run"]


class TerminalError(TweelingError):
    """There is no terminal to draw on."""


class ServeError(TweelingError):
    """The browser server is not installed."""


def run(
    scenario_path: Path | str | None,
    *,
    profile_dirs: Sequence[Path] = (),
    measurements: Sequence[Path] = (),
    serve: bool = False,
) -> int:
    """Open the terminal UI on a scenario file, on last time's session, or on the example.

    With `measurements`, files and folders of measured kernels, it opens on the Kernels screen.

    Raises
    ------
    TweelingError
        The scenario file or a measurement is wrong, or `serve` is asked without its extra.
    """
    if serve:
        return _serve(scenario_path, profile_dirs, measurements)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        msg = "tui: needs a terminal; `twin predict` prints the same numbers"
        raise TerminalError(msg)
    from tui.app import TweelingApp
    from tui.compute import RealTwin
    from tui.keymap import settings_path

    own = profile_dirs[0] if profile_dirs else settings_path().parent / "profiles"

    def make_twin() -> RealTwin:
        # Overrides made in the terminal UI are found again, though no option names their folder.
        return RealTwin(profile_dirs or ([own] if own.is_dir() else []))

    twin = make_twin()
    session = _session(scenario_path, twin)
    if measurements:
        _check_measurements(measurements, twin)
    # The twin that resolved the session serves first; a reload makes a new one.
    twins = [twin]
    app = TweelingApp(
        lambda: twins.pop() if twins else make_twin(),
        session,
        profile_dir=own,
        measurements=measurements,
    )
    app.warms_up = True
    app.run()
    return app.return_code or 0


def _session(scenario_path: Path | str | None, twin: RealTwin) -> Session:
    from tui.state import Session, journal_path, read_journal
    from twin.scenario.example import example_scenario
    from twin.scenario.scenario_file import read_scenario

    if scenario_path is not None:
        path = Path(scenario_path)
        return Session.of(read_scenario(path, twin.catalogues), path=path)
    last = read_journal(journal_path())
    if last is not None and _can_be_resolved(last.scenario, twin):
        return last
    return Session.of(example_scenario())


def _check_measurements(paths: Sequence[Path], twin: RealTwin) -> None:
    """Refuse in one line, and not on a screen, what holds no kernels of a known device."""
    from kernels.measurement_tables import MeasurementError

    for path in paths:
        known, unknown = twin.kernel_view.devices_in(path)
        if not known:
            named = f"device {max(unknown)!r} is no name or alias" if any(unknown) else "no device"
            msg = f"{path}: {named} of a profile; twin profiles new makes one"
            raise MeasurementError(msg)


def _can_be_resolved(scenario: Scenario, twin: RealTwin) -> bool:
    """Whether names and sizes of last time still mean something."""
    from twin.scenario.resolve import resolve_job

    try:
        resolve_job(scenario, twin.catalogues)
    except TweelingError:
        return False
    return True


def _serve(
    scenario_path: Path | str | None, profile_dirs: Sequence[Path], measurements: Sequence[Path]
) -> int:
    try:
        from textual_serve.server import Server
    except ImportError as missing:
        msg = "--serve needs the extra `web`: pip install 'tweeling[web]'"
        raise ServeError(msg) from missing
    import shlex

    program = "from tui.command import main; raise SystemExit(main())"
    words = [sys.executable, "-c", program, "tui"]
    if scenario_path is not None:
        words.append(str(scenario_path))
    for folder in profile_dirs:
        words += ["--profiles", str(folder)]
    for path in measurements:
        words += ["--from", str(path)]
    # Loopback only: the server has no login.
    Server(shlex.join(words), host="127.0.0.1").serve()
    return 0
