"""The parallel plan: how one training job is laid over devices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from hardware_profiles.errors import TweelingError

__all__ = ["Attention", "Plan", "PlanError", "Recompute", "States", "unsharded"]

Recompute = Literal["none", "selective", "full"]
Attention = Literal["flash", "unfused"]


class PlanError(TweelingError):
    """A plan is impossible: the message names the rule, the values and what would be valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A complete parallel plan; `twin.training.plan_rules` checks it against model and machine."""

    tp: int = 1
    """Tensor-parallel size. [1]"""
    pp: int = 1
    """Pipeline stages. [1]"""
    vpp: int = 1
    """Model chunks per pipeline stage; 1 is plain 1F1B. [1]"""
    cp: int = 1
    """Context-parallel size. [1]"""
    ep: int = 1
    """Expert-parallel size; 1 for dense models. [1]"""
    dp: int = 1
    """Data-parallel size. [1]"""
    zero: int = 0
    """ZeRO stage: 0 replicated, 1 optimizer states, 2 gradients too, 3 parameters too. [1]"""
    shard_group: int | None = None
    """Ranks that share one copy of the sharded states; the copies are kept alike by an all-reduce
    between groups (hybrid sharding). None is all data-parallel ranks. [1]"""
    micro_batch: int = 1
    """Sequences per micro-batch of one data-parallel rank. [1]"""
    sequence_parallel: bool = False
    """Split norms and residuals over the tensor-parallel ranks along the sequence."""
    recompute: Recompute = "none"
    """What is computed again in the backward pass instead of being kept."""
    recompute_layers: int | None = None
    """With full recomputation: layers of the whole model that recompute; None is all. [1]"""
    attention: Attention = "flash"
    counts_ends_as_layers: bool = True
    """Where layers do not divide over the stages and two more would, embedding and head take the
    place of a layer each."""

    @property
    def n_devices(self) -> int:
        """Devices that the plan occupies. [1]"""
        return self.tp * self.pp * self.cp * self.dp

    @property
    def n_gradient_ranks(self) -> int:
        """Ranks that reduce their gradients together; context ranks do so too. [1]"""
        return self.dp * self.cp

    @property
    def n_shards(self) -> int:
        """Parts that sharded states are cut into. [1]"""
        return self.shard_group or self.n_gradient_ranks


class States(NamedTuple):
    """What a layout leaves open: where states are kept, and what is kept for the backward pass."""

    zero: int
    recompute: Recompute


def unsharded(plan: Plan) -> Plan:
    """The same plan with every state replicated."""
    return plan if plan.zero == 0 else replace(plan, zero=0, shard_group=None)
