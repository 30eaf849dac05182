"""Compiled twins of the scalar formulas: one source for plain Python and for sweeps.

A formula module is plain Python, so that the explained prediction needs no compiler. For fits and
sweeps the same functions are compiled: each function is rebuilt with globals in which every
function of this package that it calls is compiled as well. Nothing is copied or patched; the
plain modules stay as they are.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

__all__ = ["FormulaCompiler", "PlainFormulas"]

PACKAGE = "kernels"
"""Only functions of this package are rebuilt; anything else is left to the compiler."""


class FormulaCompiler:
    """Compiles formulas and what they call; keeps what it compiled for the next one.

    Notes
    -----
    Keyword-only arguments are turned into ordinary ones, since the compiler knows no others; the
    calls by keyword inside the formulas stay valid. Compiled code is not cached on disk: a cache
    keyed by one file would miss a change in a module that it calls.
    """

    def __init__(self) -> None:
        self._compiled: dict[Callable[..., Any], Callable[..., Any]] = {}

    def compile(self, formula: Callable[..., Any]) -> Callable[..., Any]:
        """The compiled twin of a formula.

        Parameters
        ----------
        formula
            A plain function on floats, arrays and named tuples, from this package.

        Returns
        -------
        Callable
            Compiled on its first call; same arguments, same result.
        """
        if formula not in self._compiled:
            # numba takes a second to import; only fits and sweeps need it.
            from numba import njit

            self._compiled[formula] = njit(error_model="numpy")(self._rebuilt(formula))
        return self._compiled[formula]

    def _rebuilt(self, formula: Callable[..., Any]) -> types.FunctionType:
        if not isinstance(formula, types.FunctionType):
            message = f"only plain functions can be compiled, not {formula!r}"
            raise TypeError(message)
        code = formula.__code__
        known = dict(formula.__globals__)
        for name in code.co_names:
            value = known.get(name)
            if isinstance(value, types.FunctionType) and _is_formula(value):
                known[name] = self.compile(value)
        n_arguments = code.co_argcount + code.co_kwonlyargcount
        plain = code.replace(co_argcount=n_arguments, co_kwonlyargcount=0)
        return types.FunctionType(plain, known, formula.__name__, formula.__defaults__)


class PlainFormulas:
    """In place of a compiler, where rows are too few for one: leaves formulas as they are."""

    def compile(self, formula: Callable[..., Any]) -> Callable[..., Any]:
        """The formula itself."""
        return formula


def _is_formula(function: types.FunctionType) -> bool:
    return function.__module__.split(".")[0] == PACKAGE
