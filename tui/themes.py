"""The two themes of the house: quiet, one accent, legible at 4.5:1."""

from __future__ import annotations

from textual.theme import Theme

__all__ = ["DARK", "LIGHT"]

DARK = Theme(
    name="tweeling-dark",
    dark=True,
    primary="#7FB2E5",
    secondary="#E8A25C",
    accent="#8FD3C1",
    warning="#D9C36A",
    error="#F08080",
    success="#9CCB86",
    foreground="#E6E6E6",
    background="#14181D",
    surface="#1A1F26",
    panel="#232A33",
)

LIGHT = Theme(
    name="tweeling-light",
    dark=False,
    primary="#1F5FA8",
    secondary="#9A4E00",
    accent="#0B6B5B",
    warning="#6F5A00",
    error="#B00020",
    success="#2E6B1F",
    foreground="#1B1F23",
    background="#FBFBF9",
    surface="#F3F3F0",
    panel="#E7E7E2",
)
