"""The attention of a case as the survey speaks of it."""

from __future__ import annotations

from kernels.benched.case import KernelCase
from kernels.survey.shapes import AttentionShape

__all__ = ["attention_shape"]


def attention_shape(case: KernelCase) -> AttentionShape:
    """Shape of a case of the family attention."""
    s = case.shape
    return AttentionShape(
        batch=s["batch"],
        heads_q=s["heads_q"],
        heads_kv=s["heads_kv"],
        seq=s["seq_q"],
        head_dim=s["head_dim"],
        is_causal=s["causal"],
        role=case.role,
    )
