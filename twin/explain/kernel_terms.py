"""Terms of single kernels: which limit a matrix product, attention or stream runs into."""

from __future__ import annotations

from hardware_profiles.calibration import OperationCalibration
from kernels.attention.model import (
    AttentionTime,
    attention_backward_time,
    attention_forward_time,
)
from kernels.gemm.model import GemmShape, GemmTime, gemm_time
from twin.explain.inputs import ProfileInputs, computed, given
from twin.explain.term import Term
from twin.training.job import ELEMENT_BYTES, LOW_PRECISIONS
from twin.training.layer_time import KernelTime, PassTime
from twin.training.operations import attention_calls, layer_gemms
from twin.training.plan import Plan
from twin.training.predictor import StepPredictor

__all__ = ["KernelTerms", "operation_formula"]

INPUT_GRADIENT = ", input gradient"
WEIGHT_GRADIENT = ", weight gradient"

OPERATION_PARAMETERS = {
    "traffic_ratio": ("traffic ratio", "1"),
    "fill_rows": ("rows of a unit that fill the device", "1"),
    "element_s": ("arithmetic of one element in one unit", "s"),
    "byte_s": ("wait of one unit for one byte", "s"),
    "row_s": ("barriers of one row in one unit", "s"),
    "held_row_s": ("latency of one row in registers", "s"),
    "held_register_s": ("one value of each of its threads", "s"),
    "plain_round_s": ("one vector of each thread, all passes", "s"),
    "plain_rest_s": ("one element of each thread, all passes", "s"),
    "serial_row_s": ("one row in kernels of one block", "s"),
    "block_s": ("part of one block", "s"),
}
"""Constants of a memory-bound operation that its explanation names where they count, with units."""

ALWAYS = ("traffic_ratio",)
"""Those that it names in any case."""


def _is_packed(limits: GemmTime) -> bool:
    """Whether this is the product of one thread of a processor: no tiles, but packing."""
    return limits.tile_m == 0.0


def operation_formula(fitted: OperationCalibration) -> str:
    """What one memory-bound operation's time is made of, in words."""
    traffic = "traffic · ratio / bandwidth"
    beside = ["arithmetic"] if fitted.element_s > 0.0 else []
    if fitted.row_s > 0.0:
        beside.append("rows · row time")
    if fitted.held_row_s > 0.0:
        beside = ["arithmetic, or rows · latency / rows under way"]
    if beside:
        overlaps = fitted.element_s > 0.0 or fitted.held_row_s > 0.0
        is_max = overlaps and fitted.overlap_exponent > 1.0
        both = " + ".join(beside)
        traffic = f"smooth max({traffic}, {both})" if is_max else f"({traffic} + {both})"
    if fitted.block_s > 0.0:
        traffic = f"smooth max({traffic}, part of one block)"
    if fitted.fill_rows > 0.0:
        traffic += " · (1 + rows that fill the device / rows)"
    serial = " + rows · time in one block" if fitted.serial_row_s > 0.0 else ""
    return f"all calls together: floors + {traffic}{serial}"


def _gemm_formula(limits: GemmTime) -> str:
    if _is_packed(limits):
        return "launch + arithmetic + packing"
    return (
        "launch + smooth max(arithmetic, operand supply, memory) + split, "
        f"tile {limits.tile_m:.0f}×{limits.tile_n:.0f}, {limits.n_splits:.0f} split(s)"
    )


class KernelTerms:
    """Makes terms for the kernels of one layer under one plan and clock."""

    def __init__(
        self,
        predictor: StepPredictor,
        plan: Plan,
        *,
        clock_fraction: float,
        inputs: ProfileInputs,
    ) -> None:
        self._predictor = predictor
        self._plan = plan
        self._clock_fraction = clock_fraction
        self._inputs = inputs

    def _shape(self, name: str) -> GemmShape | None:
        """Shape of a layer's product by the name that the layer gave it."""
        job = self._predictor.job
        width = ELEMENT_BYTES[job.precision]
        for gemm in layer_gemms(job, self._plan):
            if name == gemm.name:
                return gemm.forward(width, job.activation_bytes)
            if name == gemm.name + INPUT_GRADIENT:
                return gemm.input_gradient(width, job.activation_bytes)
            if name == gemm.name + WEIGHT_GRADIENT:
                return gemm.weight_gradient(width)
        return None

    def gemm(self, kernel: KernelTime) -> Term:
        """One matrix product: arithmetic, operand supply and memory, the largest counts."""
        shape = self._shape(kernel.name)
        if shape is None:
            return self.plain(kernel)
        job, device = self._predictor.job, self._predictor.device
        machine = device.gemm(job.precision, self._clock_fraction)
        limits = gemm_time(shape, machine)
        children = (
            *self._gemm_limits(shape, kernel, limits),
            *self._gemm_inputs(machine.memory_bandwidth_bytes_per_s),
        )
        is_low = job.precision in LOW_PRECISIONS
        product = computed(
            "as serving libraries do it" if is_low else kernel.name,
            limits.time_s,
            "s",
            relation="formula" if _is_packed(limits) else "maximum",
            formula=_gemm_formula(limits),
            children=children,
        )
        return self._in_training(kernel, product) if is_low else product

    def _in_training(self, kernel: KernelTime, product: Term) -> Term:
        """A product below 16 bits: devices were calibrated on libraries that convert inputs too."""
        framework = self._predictor.job.framework
        ratio = framework.low_precision_gemm_ratio
        source = f"framework {framework.name}"
        return computed(
            kernel.name,
            kernel.time_s,
            "s",
            relation="product",
            formula="time of serving libraries · training over serving libraries",
            children=(given("training over serving libraries", ratio, "1", source), product),
        )

    def _gemm_limits(
        self, shape: GemmShape, kernel: KernelTime, limits: GemmTime
    ) -> tuple[Term, ...]:
        """Sizes of one product and the limits it runs into."""
        formulas: tuple[tuple[str, float, str], ...] = (
            ("arithmetic", limits.arithmetic_s, "waves · tile work / (efficiency · peak · clock)"),
            (
                "operand supply",
                limits.feed_s,
                "waves · tile operands / (bytes a clock and unit · clock)",
            ),
            ("memory", limits.memory_s, "operands and result once / (efficiency · bandwidth)"),
            ("split depth", limits.split_s, "partial sums written and added"),
        )
        if _is_packed(limits):
            formulas = (
                ("arithmetic", limits.arithmetic_s, "2·m·n·(k + fill) / (efficiency · peak)"),
                ("packing", limits.feed_s, "m·k · pack A + k·n · pack B, less from the cache"),
            )
        return (
            given("m", shape.m, "1", "tokens, model and plan"),
            given("n", shape.n, "1", "model and plan"),
            given("k", shape.k, "1", "model and plan"),
            computed("work", kernel.flop, "flop", relation="formula", formula="2·m·n·k"),
            *(
                computed(name, value, "s", relation="formula", formula=formula)
                for name, value, formula in formulas
            ),
            computed("clock", self._clock_fraction, "1", relation="formula"),
        )

    def _gemm_inputs(self, memory_bandwidth_bytes_per_s: float) -> tuple[Term, ...]:
        """Profile figures and fitted parameters behind the limits."""
        job, device = self._predictor.job, self._predictor.device
        fitted = device.gemm_calibration(job.precision)
        key = f"accelerator.calibration.gemm.{job.precision}"
        parameters = (
            (
                "tensor efficiency",
                fitted.tensor_efficiency_fraction,
                "1",
                "tensor_efficiency_fraction",
            ),
            (
                "memory efficiency",
                fitted.memory_efficiency_fraction,
                "1",
                "memory_efficiency_fraction",
            ),
            ("launch", fitted.launch_s, "s", "launch_s"),
        )
        return (
            self._inputs.figure(
                f"dense peak {job.precision}",
                device.peak_flop_per_s(job.precision),
                "flop/s",
                f"accelerator.compute.peak_flop_per_s.{job.precision}",
            ),
            self._inputs.figure(
                "memory bandwidth",
                memory_bandwidth_bytes_per_s,
                "byte/s",
                "accelerator.memory.bandwidth_bytes_per_s",
            ),
            *(
                self._inputs.parameter(
                    name, value, unit, key=f"{key}.{attribute}", provenance=fitted.provenance
                )
                for name, value, unit, attribute in parameters
            ),
        )

    def attention(self, kernel: KernelTime, *, is_forward: bool) -> Term:
        """Fused attention: steps over key blocks, scheduled over compute units."""
        if self._plan.attention == "unfused":
            return self.plain(kernel)
        device = self._predictor.device
        calls = attention_calls(self._predictor.job, self._plan)
        call = next(call for call in calls if call.name == kernel.name)
        shape = call.shape
        machine = device.attention(self._clock_fraction)
        compute = attention_forward_time if is_forward else attention_backward_time
        limits: AttentionTime = compute(shape, machine)
        fitted = device.attention_calibration
        provenance = fitted.provenance if is_forward else fitted.backward_provenance
        name = "matrix_efficiency_fraction"
        efficiency = machine.matrix_efficiency_fraction
        if not is_forward:
            name = f"backward_{name}"
            efficiency = machine.backward_matrix_efficiency_fraction
        key = f"accelerator.calibration.attention.{device.attention_implementation}"
        return computed(
            kernel.name,
            kernel.time_s,
            "s",
            relation="maximum",
            formula="calls · (launch + side traffic + smooth max(schedule, longest item, memory))",
            children=(
                given("calls", call.n_calls, "1", "plan"),
                given("query length", shape.query_len, "1", "scenario and plan"),
                given("key length", shape.key_len, "1", "scenario and plan"),
                given("heads", shape.n_heads, "1", "model and plan"),
                given("head dim", shape.head_dim, "1", "model"),
                computed("work", kernel.flop, "flop", relation="formula"),
                computed("one key block", limits.block_s, "s", relation="formula"),
                computed("schedule", limits.schedule_s, "s", relation="formula"),
                computed("longest item", limits.longest_item_s, "s", relation="formula"),
                computed("memory", limits.memory_s, "s", relation="formula"),
                computed("side traffic", limits.side_s, "s", relation="formula"),
                computed("launch", limits.launch_s, "s", relation="formula"),
                self._inputs.parameter(
                    f"efficiency of {device.attention_implementation}",
                    efficiency,
                    "1",
                    key=f"{key}.{name}",
                    provenance=provenance,
                ),
                self._inputs.parameter(
                    "latency of one block",
                    fitted.block_latency_s,
                    "s",
                    key=f"{key}.block_latency_s",
                    provenance=provenance,
                ),
            ),
        )

    def stream(self, kernel: KernelTime) -> Term:
        """Streaming kernels: bytes over the sustained bandwidth, plus launches."""
        fitted = self._predictor.device.memory_bound_calibration
        machine = self._predictor.device.stream()
        return computed(
            kernel.name,
            kernel.time_s,
            "s",
            relation="formula",
            formula="launches + bytes / (efficiency · bandwidth)",
            children=(
                computed("traffic", kernel.hbm_bytes, "byte", relation="formula"),
                self._inputs.figure(
                    "memory bandwidth",
                    machine.memory_bandwidth_bytes_per_s,
                    "byte/s",
                    "accelerator.memory.bandwidth_bytes_per_s",
                ),
                self._inputs.parameter(
                    "stream efficiency",
                    fitted.bandwidth_efficiency_fraction,
                    "1",
                    key="accelerator.calibration.memory_bound.bandwidth_efficiency_fraction",
                    provenance=fitted.provenance,
                ),
            ),
        )

    def operation(self, kernel: KernelTime) -> Term:
        """Calls of one memory-bound operation: floors, traffic over the bandwidth, rows."""
        device = self._predictor.device
        fitted = device.memory_bound_calibration.operations.get(kernel.name)
        if fitted is None:
            return self.stream(kernel)
        key = f"accelerator.calibration.memory_bound.operations.{kernel.name}"
        return computed(
            kernel.name,
            kernel.time_s,
            "s",
            relation="formula",
            formula=operation_formula(fitted),
            children=(
                computed("traffic", kernel.hbm_bytes, "byte", relation="formula"),
                self._inputs.figure(
                    "memory bandwidth",
                    device.stream().memory_bandwidth_bytes_per_s,
                    "byte/s",
                    "accelerator.memory.bandwidth_bytes_per_s",
                ),
                *(
                    self._inputs.parameter(
                        words,
                        getattr(fitted, name),
                        unit,
                        key=f"{key}.{name}",
                        provenance=fitted.provenance,
                    )
                    for name, (words, unit) in OPERATION_PARAMETERS.items()
                    if name in ALWAYS or getattr(fitted, name) > 0.0
                ),
            ),
        )

    def plain(self, kernel: KernelTime) -> Term:
        """A kernel without a breakdown of its own: its work and traffic."""
        return computed(
            kernel.name,
            kernel.time_s,
            "s",
            relation="formula",
            children=(
                computed("work", kernel.flop, "flop", relation="formula"),
                computed("traffic", kernel.hbm_bytes, "byte", relation="formula"),
            ),
        )

    def of_kind(self, passes: PassTime, kind: str, *, is_forward: bool) -> tuple[Term, ...]:
        """Terms of all kernels of one kind in a pass, per layer and micro-batch."""
        made = []
        for kernel in passes.kernels:
            if kernel.kind != kind:
                continue
            if kind == "gemm":
                made.append(self.gemm(kernel))
            elif kind == "attention":
                made.append(self.attention(kernel, is_forward=is_forward))
            elif self._predictor.job.framework.operations is not None:
                made.append(self.operation(kernel))
            else:
                made.append(self.stream(kernel))
        return tuple(made)
