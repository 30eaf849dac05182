"""Which numbers a quantity of a profile can have at all, told from its name."""

from __future__ import annotations

import math

__all__ = ["expected_range"]

_POSITIVE_SUFFIXES = (
    *("_bytes_per_s", "_flop_per_s", "_hz", "capacity_bytes", "tdp_w", "_exponent"),
    *("_bytes_per_clock", "_flop_per_clock", "_j_per_flop"),
)
_POSITIVE_FIELDS = frozenset(
    {"n_units", "n_devices", "n_nodes", "domain_n_devices", "n_nics", "exponential_ratio"}
)
_AT_LEAST_ONE = frozenset({"pue", "oversubscription", "in_switch_gain"})
# Spreads and errors have no upper limit worth the name; a calibrated share may come out a little
# above 1 where caches help, but 80 for 80 % is a slip.
_UNBOUNDED = frozenset({"relative_spread_fraction", "heldout_median_ape_fraction"})
_MOST_IN_CALIBRATION = 2.0


def expected_range(key: str, value: float, *, path: tuple[str, ...] = ()) -> str | None:
    """Say what was expected of a number that is out of range; None when it can be.

    Parameters
    ----------
    key
        Name of the quantity in its base unit, such as ``tdp_w``.
    value
        Its number. [base unit]
    path
        Names of the tables around it.
    """
    if not math.isfinite(value):
        return "a finite number"
    if key in _AT_LEAST_ONE and value < 1.0:
        return "a number of at least 1"
    if key in _POSITIVE_FIELDS or "peak_flop_per_s" in path or key.endswith(_POSITIVE_SUFFIXES):
        return None if value > 0.0 else "a number above 0"
    if value < 0.0:
        return "a number of at least 0"
    return _expected_share(key, value, path)


def _expected_share(key: str, value: float, path: tuple[str, ...]) -> str | None:
    if not key.endswith("_fraction") or key in _UNBOUNDED:
        return None
    if key == "supply_efficiency_fraction" and value == 0.0:
        return "a share above 0 and up to 1"
    if key.endswith("efficiency_fraction") and value == 0.0:
        return "a share above 0"
    limit = _MOST_IN_CALIBRATION if "calibration" in path else 1.0
    return None if value <= limit else "a share between 0 and 1"
