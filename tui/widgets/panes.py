"""The panes of results: they draw a prediction and keep a cursor, nothing more."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from tui.widgets.breakdown import breakdown_lines, breakdown_names, memory_lines, power_lines
from tui.widgets.headline import HEADLINE, HeadlineStyle, headline_lines
from tui.widgets.lines import Line, content
from twin.prediction import Prediction

__all__ = ["BreakdownPane", "HeadlinePane", "MemoryPane", "PowerPane", "ResultPane"]


class ResultPane(Widget, can_focus=True):
    """Draws one part of a prediction."""

    prediction: reactive[Prediction | None] = reactive[Prediction | None](None)
    is_stale: reactive[bool] = reactive(False)
    has_intervals: reactive[bool] = reactive(True)
    as_table: reactive[bool] = reactive(False)
    is_ascii: reactive[bool] = reactive(False)
    cursor: reactive[int] = reactive(0)

    n_rows = 1
    """Rows that the cursor can stand on. [1]"""

    def lines(self, prediction: Prediction) -> list[Line]:
        """What is drawn; each pane its own."""
        raise NotImplementedError

    def render(self) -> Content:
        """The pane as text; an em dash before the first prediction."""
        if self.prediction is None:
            return Content(" —")
        lines = self.lines(self.prediction)
        if self.is_stale:
            lines = [[(text, "dim italic") for text, _ in line] for line in lines]
        return content(lines)

    def move(self, step: int) -> None:
        """Move the cursor; it stops at the ends."""
        self.cursor = max(0, min(self.n_rows - 1, self.cursor + step))

    @property
    def quantity(self) -> str:
        """Quantity whose terms `w` shows."""
        return "step_time_s"


class HeadlinePane(ResultPane):
    """The headline numbers."""

    n_rows = len(HEADLINE)

    def lines(self, prediction: Prediction) -> list[Line]:
        """One line per quantity."""
        style = HeadlineStyle(
            has_intervals=self.has_intervals,
            is_ascii=self.is_ascii,
            cursor=self.cursor if self.has_focus else None,
        )
        return headline_lines(prediction, style)

    @property
    def quantity(self) -> str:
        """The quantity under the cursor."""
        return HEADLINE[self.cursor][0]


class BreakdownPane(ResultPane):
    """Where the step time goes."""

    def lines(self, prediction: Prediction) -> list[Line]:
        """Bars or a table."""
        self.n_rows = len(breakdown_names(prediction))
        return breakdown_lines(
            prediction,
            width=self.size.width or 46,
            height=self.size.height or 9,
            as_table=self.as_table,
        )


class MemoryPane(ResultPane):
    """Memory per device."""

    def lines(self, prediction: Prediction) -> list[Line]:
        """Bars on the scale of the capacity."""
        return memory_lines(prediction, width=self.size.width or 40)

    @property
    def quantity(self) -> str:
        """Memory of the fullest device."""
        return "memory_bytes_per_device"


class PowerPane(ResultPane):
    """From the chip to the meter."""

    def lines(self, prediction: Prediction) -> list[Line]:
        """Bars and totals."""
        return power_lines(prediction, width=self.size.width or 40)

    @property
    def quantity(self) -> str:
        """IT power of the job."""
        return "it_power_w"
