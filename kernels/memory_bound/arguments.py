"""What the memory-bound kernels are given: the structures of their sources, field by field."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.memory_bound.reference import AdamW

__all__ = [
    "ADAMW_ARGUMENTS",
    "CROSS_ENTROPY_ARGUMENTS",
    "ELEMENT_ARGUMENTS",
    "NORM_ARGUMENTS",
    "SUM_ARGUMENTS",
    "adamw_factors",
    "packed",
]


def _layout(*fields: tuple[type, tuple[str, ...]]) -> np.dtype[np.void]:
    pairs = [(name, kind) for kind, names in fields for name in names]
    return np.dtype(pairs, align=True)


NORM_ARGUMENTS = _layout(
    (np.uint64, ("x", "weight", "bias", "out", "d_out", "d_x", "d_weight_parts", "d_bias_parts")),
    (np.int32, ("n_rows", "n_columns")),
    (np.float32, ("epsilon",)),
)
SUM_ARGUMENTS = _layout(
    (np.uint64, ("parts", "out", "other_out")), (np.int32, ("n_parts", "n_columns"))
)
ELEMENT_ARGUMENTS = _layout(
    (np.uint64, ("first", "second", "third", "out", "other_out")), (np.int64, ("n",))
)
ADAMW_ARGUMENTS = _layout(
    (np.uint64, ("weight", "gradient", "first_moment", "second_moment", "weight_copy")),
    (np.int64, ("n",)),
    (np.float32, ("keep", "rate", "correction", "epsilon", "beta_1", "beta_2")),
)
CROSS_ENTROPY_ARGUMENTS = _layout(
    (np.uint64, ("logits", "target", "loss", "log_sum_exp", "d_loss", "d_logits")),
    (np.int32, ("n_classes",)),
)


def packed(layout: np.dtype[np.void], **values: float) -> NDArray[np.void]:
    """A structure with these fields; addresses and numbers that are not given are 0."""
    found = np.zeros((), dtype=layout)
    for name, value in values.items():
        found[name] = value
    return found


def adamw_factors(rule: AdamW) -> dict[str, float]:
    """The constants of a step as the kernel takes them. [1]."""
    return {
        "keep": 1.0 - rule.learning_rate * rule.weight_decay,
        "rate": rule.learning_rate / (1.0 - rule.beta_1**rule.n_step),
        "correction": 1.0 / (1.0 - rule.beta_2**rule.n_step),
        "epsilon": rule.epsilon,
        "beta_1": rule.beta_1,
        "beta_2": rule.beta_2,
    }
