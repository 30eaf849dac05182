"""Runs the cases in order, within a time limit, and keeps what has been measured."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TextIO

from kernels.survey.case import Case, SkipError
from kernels.survey.store import Store

__all__ = ["Limits", "Progress", "run_cases"]

FLUSH_S = 5.0
"""Longest time that measured rows are held in memory only. [s]"""
MARGIN_S = 4.0
"""Kept free at the end of a time limit for writing and for a case that takes longer. [s]"""
FIRST_GUESS_S = 0.5
"""Time of a case before any of its family has run. [s]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When to stop."""

    deadline_s: float | None = None
    """On the clock below; None for no limit. [s]"""
    clock: Callable[[], float] = time.monotonic

    def left_s(self) -> float | None:
        """Time until the deadline; None when there is none. [s]."""
        return None if self.deadline_s is None else self.deadline_s - self.clock()


class Estimates:
    """How long cases take, learnt from those that have run."""

    def __init__(self) -> None:
        self._total_s: defaultdict[str, float] = defaultdict(float)
        self._n: defaultdict[str, int] = defaultdict(int)

    def learn(self, family: str, seconds: float) -> None:
        """Take note of how long a case took."""
        self._total_s[family] += seconds
        self._n[family] += 1

    def of(self, case: Case) -> float:
        """Time a case will take. [s]."""
        if case.estimate_s is not None:
            return case.estimate_s
        n = self._n[case.family]
        return self._total_s[case.family] / n if n else FIRST_GUESS_S


class Progress:
    """One line on stderr: rewritten on a terminal, repeated now and then elsewhere."""

    EVERY_S = 10.0

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = self._stream.isatty()
        self._last_s = -1e9

    def show(self, text: str, *, now_s: float, is_last: bool = False) -> None:
        """Show where the survey is."""
        if self._is_terminal:
            print(
                f"\r\x1b[K{text[:78]}", end="\n" if is_last else "", file=self._stream, flush=True
            )
        elif is_last or now_s - self._last_s >= self.EVERY_S:
            print(text, file=self._stream, flush=True)
            self._last_s = now_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What to do around cases on the device."""

    after_case: Callable[[], None] = lambda: None
    """Tidy up after a case that went well."""
    after_failure: Callable[[], None] = lambda: None
    """Free memory after a case that failed; raises when the device no longer answers."""


def run_cases(
    cases: Sequence[Case],
    *,
    store: Store,
    limits: Limits,
    progress: Progress | None = None,
    hooks: Hooks | None = None,
) -> str:
    """Run what is not done yet; returns how it ended: finished, time limit or interrupted.

    Whatever happens, the folder holds a valid survey when this returns or raises.
    """
    done = store.done()
    todo = [case for case in cases if (case.family, case.key) not in done]
    state = _State(
        todo=todo,
        n_before=len(cases) - len(todo),
        store=store,
        limits=limits,
        progress=progress or Progress(),
        hooks=hooks or Hooks(),
    )
    ending = "stopped by an error"
    try:
        ending = state.run()
    except KeyboardInterrupt:
        ending = "interrupted"
    finally:
        store.flush(ending=ending, elapsed_s=round(state.elapsed_s(), 1))
    return ending


class _State:
    """The loop over cases."""

    def __init__(
        self,
        *,
        todo: list[Case],
        n_before: int,
        store: Store,
        limits: Limits,
        progress: Progress,
        hooks: Hooks,
    ) -> None:
        self._todo, self._n_before, self._store = todo, n_before, store
        self._limits, self._progress, self._hooks = limits, progress, hooks
        self._estimates = Estimates()
        self._began_s = limits.clock()
        self._flushed_s = self._began_s

    def elapsed_s(self) -> float:
        return self._limits.clock() - self._began_s

    def run(self) -> str:
        n_left_out = 0
        for position, case in enumerate(self._todo):
            left_s = self._limits.left_s()
            if left_s is not None and left_s <= MARGIN_S:
                return "time limit"
            if left_s is not None and self._estimates.of(case) > left_s - MARGIN_S:
                n_left_out += 1  # a shorter case further on may still fit
                continue
            self._show(case, position)
            self._run_case(case)
            self._flush_now_and_then()
        self._progress.show("done", now_s=self._limits.clock(), is_last=True)
        return "time limit" if n_left_out else "finished"

    def _run_case(self, case: Case) -> None:
        start_s = self._limits.clock()
        # RuntimeError is how frameworks report everything from a missing kernel to a full memory.
        try:
            self._store.add(case.run())
        except (SkipError, RuntimeError, ValueError, TypeError, MemoryError, ImportError) as error:
            self._store.skip(family=case.family, case=case.key, why=_one_line(error))
            failed = True
        else:
            failed = False
        # Outside the handler: its traceback would keep the failed case's tensors alive.
        if failed:
            self._hooks.after_failure()
        else:
            self._hooks.after_case()
        self._estimates.learn(case.family, self._limits.clock() - start_s)

    def _flush_now_and_then(self) -> None:
        now_s = self._limits.clock()
        if now_s - self._flushed_s >= FLUSH_S:
            self._store.flush(ending="running", elapsed_s=round(self.elapsed_s(), 1))
            self._flushed_s = now_s

    def _show(self, case: Case, position: int) -> None:
        rest_s = sum(self._estimates.of(other) for other in self._todo[position:])
        left_s = self._limits.left_s()
        if left_s is not None:
            rest_s = min(rest_s, left_s)
        n_all = self._n_before + len(self._todo)
        count = f"[{self._n_before + position + 1}/{n_all}]"
        text = f"{count} {int(rest_s // 60)}m{int(rest_s % 60):02d} left  {case.family} {case.key}"
        self._progress.show(text, now_s=self._limits.clock())


def _one_line(error: BaseException) -> str:
    """First line of an error, without the frames that some frameworks add."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}".removeprefix("SkipError: ")
