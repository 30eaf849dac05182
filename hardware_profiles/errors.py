"""Errors that speak to the user: what, where, which value, what was expected."""

from __future__ import annotations

__all__ = ["ProfileError", "TweelingError"]


class TweelingError(Exception):
    """Base of every error that bad input can cause; the command line prints it as one line."""


class ProfileError(TweelingError):
    """A hardware profile, or an override of one of its figures, is wrong."""
