"""Errors that speak to the user: what, where, which value, what was expected."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["ProfileError", "TweelingError", "nearest"]


class TweelingError(Exception):
    """Base of every error that bad input can cause; the command line prints it as one line."""


class ProfileError(TweelingError):
    """A hardware profile, or an override of one of its figures, is wrong."""


def nearest(word: str, choices: Iterable[str], *, n: int = 3) -> tuple[str, ...]:
    """Up to `n` of `choices` that look most like `word`, best first; case does not count."""
    # Imported here: only a mistake needs it.
    import difflib  # noqa: PLC0415

    by_lower = {choice.lower(): choice for choice in sorted(choices, reverse=True)}
    found = difflib.get_close_matches(word.lower(), by_lower, n=n, cutoff=0.45)
    return tuple(by_lower[name] for name in found)
