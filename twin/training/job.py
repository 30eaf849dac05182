"""A training job: model, machine and batch, before a plan is chosen."""

from __future__ import annotations

from dataclasses import dataclass

from hardware_profiles.cluster import Machine
from twin.training.framework import Framework
from twin.workload.transformer import Transformer

__all__ = ["ELEMENT_BYTES", "PRECISIONS", "TrainingJob"]

ELEMENT_BYTES = {"bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "tf32": 4.0, "fp32": 4.0}
"""Width of a GEMM operand by precision. [byte]"""

PRECISIONS = tuple(ELEMENT_BYTES)

ACTIVATION_BYTES = {"bf16": 2.0, "fp16": 2.0, "fp8": 2.0, "tf32": 4.0, "fp32": 4.0}
"""Width of an activation between kernels; 8-bit training keeps 16 bits there. [byte]"""


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
