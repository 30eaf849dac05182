"""A training job: model, machine and batch, before a plan is chosen."""

from __future__ import annotations

from dataclasses import dataclass

from hardware_profiles.cluster import Machine
from kernels.gemm.precision import PRECISIONS as GEMM_PRECISIONS
from twin.training.framework import Framework
from twin.workload.transformer import Transformer

__all__ = ["ELEMENT_BYTES", "LOW_PRECISIONS", "PRECISIONS", "TrainingJob"]

PRECISIONS = ("bf16", "fp16", "fp8", "mxfp8", "nvfp4", "tf32", "fp32")
"""Precisions of the matrix products of layers."""

LOW_PRECISIONS = frozenset({"fp8", "mxfp8", "nvfp4"})
"""Below 16 bits: activations between kernels, attention and the head keep 16 bits."""

ELEMENT_BYTES = {name: GEMM_PRECISIONS[name].operand_bytes for name in PRECISIONS}
"""Width of a GEMM operand, its share of block scales included. [byte]"""

ACTIVATION_BYTES = {
    name: 2.0 if name in LOW_PRECISIONS else width for name, width in ELEMENT_BYTES.items()
}
"""Width of an activation between kernels. [byte]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """Everything a step depends on except the plan."""

    model: Transformer
    machine: Machine
    n_devices: int
    seq_len: int
    global_batch: int
    precision: str
    framework: Framework
    power_cap_w: float
    """Cap per device; the device's own limit when the user set none. [W]"""

    @property
    def tokens_per_step(self) -> float:
        """Tokens of one optimizer step. [token]"""
        return float(self.seq_len) * self.global_batch

    @property
    def activation_bytes(self) -> float:
        """Width of an activation between kernels. [byte]"""
        return ACTIVATION_BYTES[self.precision]

    @property
    def n_devices_per_node(self) -> int:
        """Devices of this job on one node. [1]"""
        return min(self.machine.node.n_devices, self.n_devices)

    @property
    def n_nodes(self) -> int:
        """Nodes that the job occupies, the last one perhaps in part. [1]"""
        return -(-self.n_devices // self.machine.node.n_devices)
