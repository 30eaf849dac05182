"""Kernels of transformer layers on one device, as the step model predicts them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.errors import TweelingError
from twin.roofline import DeviceRoofs, device_roofs, roof_s
from twin.scenario.resolve import Catalogues
from twin.training.device_model import ClockedDevice, DeviceModel
from twin.training.framework import framework
from twin.training.groups import Communicators
from twin.training.job import TrainingJob
from twin.training.layer_time import KernelTime, Timer, layer_passes
from twin.training.operations import attention_shape, layer_gemms, micro_batch_tokens
from twin.training.plan import Plan
from twin.training.plan_rules import check_plan

if TYPE_CHECKING:
    from twin.kernel_columns import KernelColumns

__all__ = [
    "MODELS",
    "STEP_MODEL",
    "LayerKernel",
    "LayerSetting",
    "default_precisions",
    "default_settings",
    "layer_attention",
    "layer_columns",
    "layer_kernels",
]

MODELS = ("llama-3-8b", "llama-3-70b", "gpt3-175b")
"""Models whose layers are shown."""

TENSOR_SIZES = (1, 8)
"""Ranks that share a layer. [1]"""

TOKENS = (2048, 4096, 8192, 16384)
"""Tokens of a micro-batch, one sequence. [token]"""

PRECISIONS = ("bf16", "fp8", "fp32")
"""Precisions of training, the first two where the device has them, else the last."""

FRAMEWORK = "megatron-core"
STEP_MODEL = "step model"
"""What stands for the library of a predicted kernel of a layer."""

FULL_CLOCK_FRACTION = 1.0
_FAMILY = {"gemm": "gemm", "attention": "attention", "stream": "stream"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerKernel:
    """One kernel of a layer."""

    family: str
    name: str
    direction: str
    dtype: str
    origin: str
    sizes: tuple[float, ...]
    flop: float
    traffic_bytes: float
    predicted_s: float
    roof_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSetting:
    """A layer of a model as one device of a tensor-parallel group computes it."""

    model: str
    """Name of the catalogue, or the path of a TOML file."""
    tp: int
    """Ranks that share the layer. [1]"""
    seq_len: int
    """Tokens of the one sequence of a micro-batch. [token]"""
    precision: str

    @property
    def words(self) -> str:
        """Model, tensor-parallel size and length in short."""
        thousands, rest = divmod(self.seq_len, 1024)
        return f"{self.model} tp{self.tp} {self.seq_len if rest else f'{thousands}k'}"


def default_precisions(accelerator: Accelerator) -> tuple[str, ...]:
    """Precisions of training that the device has peaks for, the usual one first."""
    peaks = accelerator.compute.peak_flop_per_s
    return tuple(name for name in PRECISIONS[:-1] if name in peaks) or PRECISIONS[-1:]


def default_settings(accelerator: Accelerator) -> tuple[LayerSetting, ...]:
    """Layers of `MODELS` over tensor-parallel sizes, lengths and precisions."""
    return tuple(
        LayerSetting(model=name, tp=tp, seq_len=tokens, precision=precision)
        for precision in default_precisions(accelerator)
        for name in MODELS
        for tp in TENSOR_SIZES
        for tokens in TOKENS
    )


def layer_attention(accelerator: Accelerator) -> str:
    """Implementation of attention whose constants predict the layers."""
    precision = default_precisions(accelerator)[0]
    device = DeviceModel(accelerator, precision, framework(FRAMEWORK).attention_implementations)
    return device.attention_implementation


def layer_kernels(
    accelerator: Accelerator,
    catalogues: Catalogues,
    settings: Sequence[LayerSetting] | None = None,
) -> tuple[LayerKernel, ...]:
    """Predicted kernels of layers, alone on the device at its full clock.

    The clock that a long kernel loses is left out, as in the step model, which takes it from the
    power model.

    Parameters
    ----------
    accelerator
        The device.
    catalogues
        Where models, and a cluster with the device, are looked up.
    settings
        Which layers; `default_settings` where None.

    Raises
    ------
    TweelingError
        A model that is not known, or a tensor-parallel size that does not divide it.
    """
    found: list[LayerKernel] = []
    roofs = device_roofs(accelerator)
    machine_name = _cluster_of(accelerator, catalogues)
    wanted = default_settings(accelerator) if settings is None else settings
    for setting, job, plan in _jobs(accelerator, catalogues, machine_name, settings=wanted):
        device = DeviceModel(accelerator, job.precision, job.framework.attention_implementations)
        origin = setting.words
        forward, backward = layer_passes(
            Timer(job, plan, ClockedDevice(device, FULL_CLOCK_FRACTION))
        )
        sizes = _sizes(job, plan)
        for direction, layer in (("fwd", forward), ("bwd", backward)):
            found += [
                _kernel(kernel, roofs, direction=direction, origin=origin, sizes=sizes)
                for kernel in layer.kernels
            ]
        if machine_name is not None:
            found += _collectives(job, plan, device, roofs=roofs, origin=origin)
    return tuple(found)


def _jobs(
    accelerator: Accelerator,
    catalogues: Catalogues,
    cluster: str | None,
    *,
    settings: Sequence[LayerSetting],
) -> Iterator[tuple[LayerSetting, TrainingJob, Plan]]:
    machine = catalogues.profiles.machine(cluster or catalogues.profiles.names("cluster")[0])
    machine = replace(machine, accelerator=accelerator)
    for setting in settings:
        job = TrainingJob(
            model=catalogues.models.model(setting.model),
            machine=machine,
            n_devices=setting.tp,
            seq_len=setting.seq_len,
            global_batch=1,
            precision=setting.precision,
            framework=framework(FRAMEWORK),
            power_cap_w=accelerator.power.tdp_w,
        )
        plan = Plan(tp=setting.tp, sequence_parallel=setting.tp > 1)
        check_plan(job, plan)
        yield setting, job, plan


def _cluster_of(accelerator: Accelerator, catalogues: Catalogues) -> str | None:
    """A cluster with the device, whose node says how its links are laid; None without one."""
    for name in catalogues.profiles.names("cluster"):
        try:
            machine = catalogues.profiles.machine(name)
        except TweelingError:  # a broken file says so where it is looked at itself
            continue
        if machine.accelerator.name == accelerator.name and machine.node.n_devices > 1:
            return name
    return None


def _sizes(job: TrainingJob, plan: Plan) -> dict[str, tuple[float, ...]]:
    """Sizes of each kernel of a layer by its name."""
    found: dict[str, tuple[float, ...]] = {}
    for gemm in layer_gemms(job, plan):
        found[gemm.name] = (gemm.m, gemm.n, gemm.k, 1.0)
        found[f"{gemm.name}, input gradient"] = (gemm.m, gemm.k, gemm.n, 1.0)
        found[f"{gemm.name}, weight gradient"] = (gemm.n, gemm.k, gemm.m, 1.0)
    one = attention_shape(job, plan)
    heads, lengths = (one.n_heads, one.n_kv_heads), (one.query_len, one.key_len)
    found["attention core"] = (one.batch, *heads, *lengths, one.head_dim, 1.0)
    found["norms and activation"] = (micro_batch_tokens(job, plan), float(job.model.hidden))
    return found


def _kernel(
    kernel: KernelTime,
    roofs: DeviceRoofs,
    *,
    direction: str,
    origin: str,
    sizes: dict[str, tuple[float, ...]],
) -> LayerKernel:
    peak = roofs.peak_flop_per_s(kernel.dtype) or roofs.peaks[0].flop_per_s
    bandwidth = roofs.bytes_per_s("memory") or 1.0
    name, _, gradient = kernel.name.partition(", ")
    return LayerKernel(
        family=_FAMILY[kernel.kind],
        name=name,
        direction={"input gradient": "dgrad", "weight gradient": "wgrad"}.get(gradient, direction),
        dtype=kernel.dtype,
        origin=origin,
        sizes=sizes.get(kernel.name, ()),
        flop=kernel.flop,
        traffic_bytes=kernel.hbm_bytes,
        predicted_s=kernel.time_s,
        roof_s=roof_s(kernel.flop, kernel.hbm_bytes, peak_flop_per_s=peak, bytes_per_s=bandwidth),
    )


def _collectives(
    job: TrainingJob, plan: Plan, device: DeviceModel, *, roofs: DeviceRoofs, origin: str
) -> Iterator[LayerKernel]:
    """Tensor-parallel collectives of a layer; their roof is the link."""
    link = roofs.bytes_per_s("link")
    if plan.tp == 1 or link is None:
        return
    communicators = Communicators(job=job, plan=plan, device=device)
    message = micro_batch_tokens(job, plan) * job.model.hidden * job.activation_bytes
    for operation, passes in (("all_gather", 1.0), ("reduce_scatter", 1.0), ("all_reduce", 2.0)):
        wire_bytes = passes * message * (plan.tp - 1) / plan.tp
        yield LayerKernel(
            family="collective",
            name=operation,
            direction="",
            dtype=device.core_dtype,
            origin=origin,
            sizes=(float(plan.tp), message),
            flop=0.0,
            traffic_bytes=wire_bytes,
            predicted_s=communicators.tensor_time_s(operation, message),
            roof_s=wire_bytes / link,
        )


def layer_columns(kernels: Sequence[LayerKernel]) -> KernelColumns:
    """The kernels as columns; NumPy is imported here and not before."""
    import numpy as np

    from twin.kernel_columns import FAMILIES, N_SIZES, KernelColumns, concatenated

    n_rows = len(kernels)
    sizes = np.zeros((n_rows, N_SIZES))
    for row, kernel in enumerate(kernels):
        sizes[row, : len(kernel.sizes)] = kernel.sizes
    columns = {
        "name": [kernel.name for kernel in kernels],
        "dtype": [kernel.dtype for kernel in kernels],
        "direction": [kernel.direction for kernel in kernels],
        "library": [STEP_MODEL] * n_rows,
        "origin": [kernel.origin for kernel in kernels],
    }
    texts = {name: tuple(sorted(set(values))) for name, values in columns.items()}
    codes = {
        name: np.array([texts[name].index(value) for value in values], dtype=np.int32)
        for name, values in columns.items()
    }
    return concatenated(
        [
            KernelColumns(
                family=np.array([FAMILIES.index(k.family) for k in kernels], dtype=np.int8),
                sizes=sizes,
                codes=codes,
                texts=texts,
                measured_s=np.full(n_rows, np.nan),
                predicted_s=np.array([kernel.predicted_s for kernel in kernels]),
                flop=np.array([kernel.flop for kernel in kernels]),
                traffic_bytes=np.array([kernel.traffic_bytes for kernel in kernels]),
                roof_s=np.array([kernel.roof_s for kernel in kernels]),
                is_heldout=np.zeros(n_rows, dtype=np.bool_),
            )
        ]
    )
