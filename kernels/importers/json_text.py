"""JSON files of other tools, parsed whole."""

from __future__ import annotations

import json
from pathlib import Path

from kernels.importers.cells import text_of
from kernels.measurement_tables import MeasurementError

__all__ = ["json_document"]


def json_document(path: Path) -> object:
    """What a JSON file holds.

    Raises
    ------
    MeasurementError
        It cannot be read or is no JSON; the line and column of the first mistake are named.
    """
    text = text_of(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        message = f"{path}: line {error.lineno}, column {error.colno}: no JSON: {error.msg}"
        raise MeasurementError(message) from error
    except (RecursionError, ValueError) as error:
        # Brackets without end, or a whole number of thousands of digits.
        message = f"{path}: nested too deeply, or a number too long, for a file of measurements"
        raise MeasurementError(message) from error
