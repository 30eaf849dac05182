"""Terms of the step time: every cause, and what it is made of. The causes add up to the step."""

from __future__ import annotations

from twin.explain.inputs import ProfileInputs, computed, given, total
from twin.explain.kernel_terms import KernelTerms
from twin.explain.term import Term
from twin.training.plan import Plan
from twin.training.predictor import StepPredictor
from twin.training.step import Step

__all__ = ["step_time_term"]

NEGLIGIBLE_SHARE = 1e-13
"""Causes below this share of the step are rounding, not time. [1]"""


class _StepTerms:
    """Builds the terms of one step."""

    def __init__(self, predictor: StepPredictor, plan: Plan, step: Step) -> None:
        self._predictor = predictor
        self._plan = plan
        self._step = step
        self._inputs = ProfileInputs(predictor.job.machine)
        self._kernels = KernelTerms(
            predictor, plan, clock_fraction=step.compute.clock_fraction, inputs=self._inputs
        )

    def _counts(self) -> tuple[Term, ...]:
        step = self._step
        return (
            given("micro-batches per step", step.n_micro_batches, "1", "batch and plan"),
            given("layers on the slowest stage", step.n_layers_slowest, "1", "model and plan"),
        )

    def _repeated(self, name: str, per_layer: tuple[Term, ...]) -> Term:
        """Micro-batches times layers times the sum over one layer."""
        layer = total("one layer, one micro-batch", "s", per_layer)
        return computed(
            name,
            self._step.breakdown[name],
            "s",
            relation="product",
            formula="micro-batches · layers · time of one layer",
            children=(*self._counts(), layer),
        )

    def _layer_causes(self) -> tuple[Term, ...]:
        compute = self._step.compute
        launches = compute.forward.launches
        kernels = self._kernels
        host_s = (
            compute.forward.time_s
            - compute.forward.device_s
            + compute.backward.time_s
            - compute.backward.device_s
        )
        host = computed(
            "launches beyond device time",
            host_s,
            "s",
            relation="formula",
            formula="(device^p + host^p)^(1/p) − device",
            children=(
                computed("host forward", launches.host_s, "s", relation="formula"),
                computed(
                    "host backward", compute.backward.launches.host_s, "s", relation="formula"
                ),
                computed("p", launches.join_exponent, "1", relation="formula"),
            ),
        )
        forward, backward = compute.forward, compute.backward
        return (
            self._repeated("gemm_forward", kernels.of_kind(forward, "gemm", is_forward=True)),
            self._repeated("gemm_backward", kernels.of_kind(backward, "gemm", is_forward=False)),
            self._repeated(
                "attention_forward", kernels.of_kind(forward, "attention", is_forward=True)
            ),
            self._repeated(
                "attention_backward", kernels.of_kind(backward, "attention", is_forward=False)
            ),
            self._repeated(
                "memory_bound",
                (
                    *kernels.of_kind(forward, "stream", is_forward=True),
                    *kernels.of_kind(backward, "stream", is_forward=False),
                ),
            ),
            self._repeated("host_launch", (host,)),
        )

    def _head(self) -> Term:
        compute, step = self._step.compute, self._step
        kernels = tuple(
            self._kernels.plain(kernel)
            for passes in (compute.head_forward, compute.head_backward)
            for kernel in passes.kernels
        )
        return computed(
            "head_and_loss",
            step.breakdown["head_and_loss"],
            "s",
            relation="product",
            formula="micro-batches · head on the slowest stage · time of head and loss",
            children=(
                given("micro-batches per step", step.n_micro_batches, "1", "batch and plan"),
                given("head on the slowest stage", step.n_heads_slowest, "1", "plan"),
                total("head and loss, one micro-batch", "s", kernels),
            ),
        )

    def _traffic(self) -> tuple[Term, ...]:
        traffic = self._step.traffic
        bandwidth = self._link_inputs()
        made = []
        for name, exposed_s, hidden_s in (
            ("tp_communication", traffic.tp_exposed_s, traffic.tp_hidden_s),
            ("cp_communication", traffic.cp_exposed_s, traffic.cp_hidden_s),
            ("fsdp_communication", traffic.fsdp_exposed_s, traffic.fsdp_hidden_s),
        ):
            layer = computed(
                "exposed, one layer, one micro-batch",
                exposed_s,
                "s",
                relation="formula",
                formula="traffic − what hides behind compute",
                children=(
                    computed("hidden behind compute", hidden_s, "s", relation="formula"),
                    *bandwidth,
                ),
            )
            made.append(
                computed(
                    name,
                    self._step.breakdown[name],
                    "s",
                    relation="product",
                    formula="micro-batches · layers · exposed traffic of one layer",
                    children=(*self._counts(), layer),
                )
            )
        return tuple(made)

    def _link_inputs(self) -> tuple[Term, ...]:
        machine = self._predictor.job.machine
        found = []
        if machine.accelerator.link is not None:
            found.append(
                self._inputs.figure(
                    "link bandwidth",
                    machine.accelerator.link.bandwidth_bytes_per_s,
                    "byte/s",
                    "accelerator.link.bandwidth_bytes_per_s",
                )
            )
        found.append(
            self._inputs.figure(
                "network card line rate",
                machine.node.network.nic_bandwidth_bytes_per_s,
                "byte/s",
                "node.network.nic_bandwidth_bytes_per_s",
            )
        )
        return (*found, *self._fabric_inputs())

    def _fabric_inputs(self) -> tuple[Term, ...]:
        """What collectives get of the network between nodes."""
        job = self._predictor.job
        if job.n_nodes <= 1:
            return ()
        fabric = job.machine.cluster.fabric
        return tuple(
            self._inputs.figure(name, getattr(fabric, key), unit, f"cluster.fabric.{key}")
            for name, key, unit in (
                ("share of the line rate in a ring", "bandwidth_efficiency_fraction", "1"),
                ("share of the line rate in a tree", "tree_efficiency_fraction", "1"),
                ("start-up between two nodes", "latency_s", "s"),
                ("start-up of each doubling of nodes", "latency_per_node_s", "s"),
                ("time of each further node of a ring", "latency_per_hop_s", "s"),
            )
        )

    def _schedule_causes(self) -> tuple[Term, ...]:
        """What recomputation, overlap and the pipeline's schedule take."""
        step, plan = self._step, self._plan
        framework = self._predictor.job.framework
        slowdown = framework.overlap.slowdown_fraction
        hidden_s = sum(step.hidden.values())
        return (
            self._simple(
                "recompute",
                "micro-batches · layers · repeated share of the forward pass",
                *self._counts(),
                given("repeated layers", step.recomputed_layers_slowest, "1", "plan"),
            ),
            self._simple(
                "overlap_slowdown",
                "slow-down fraction · hidden communication",
                given("slow-down fraction", slowdown, "1", f"framework {framework.name}"),
                computed("hidden communication", hidden_s, "s", relation="formula"),
            ),
            self._simple(
                "pp_bubble",
                "(pp − 1) / vpp · mean stage time",
                given("pp", plan.pp, "1", "plan"),
                given("vpp", plan.vpp, "1", "plan"),
            ),
            self._simple(
                "pp_communication",
                "exposed sends · time of one send",
                computed("one send", step.send_s, "s", relation="formula"),
                *self._link_inputs(),
            ),
        )

    def _data_cause(self) -> Term:
        data = self._step.data
        return self._simple(
            "dp_communication",
            "gradient reduction + parameter gathers − hidden",
            computed("gradient reduction", data.gradient_s, "s", relation="formula"),
            computed("parameter gathers", data.parameter_s, "s", relation="formula"),
            computed("hidden behind compute", data.hidden_s, "s", relation="formula"),
            *self._link_inputs(),
        )

    def _end_causes(self) -> tuple[Term, ...]:
        """What the end of a step and the size of the job take."""
        job = self._predictor.job
        framework = job.framework
        source = f"framework {framework.name}"
        per_parameter = framework.traffic.optimizer_bytes_per_parameter
        per_doubling = framework.overlap.straggler_fraction_per_doubling
        optimizer = "bytes per parameter · parameters of this shard / bandwidth"
        if framework.operations is not None:
            optimizer += " · traffic ratio of adamw-fwd + floor"
        return (
            self._simple(
                "optimizer",
                optimizer,
                given("bytes per parameter", per_parameter, "byte", source),
                self._inputs.figure(
                    "memory bandwidth",
                    job.machine.accelerator.memory.bandwidth_bytes_per_s,
                    "byte/s",
                    "accelerator.memory.bandwidth_bytes_per_s",
                ),
            ),
            self._simple(
                "host_step",
                "norms, scalar synchronisation, logging",
                given("host work per step", framework.host.step_s, "s", source),
            ),
            self._simple(
                "stragglers",
                "fraction per doubling of devices beyond 8 · step",
                given("fraction per doubling", per_doubling, "1", source),
                given("devices", job.n_devices, "1", "scenario"),
            ),
        )

    def _simple(self, name: str, formula: str, *children: Term) -> Term:
        return computed(
            name,
            self._step.breakdown[name],
            "s",
            relation="formula",
            formula=formula,
            children=children,
        )

    def term(self) -> Term:
        """The whole step."""
        children = (
            *self._layer_causes(),
            self._head(),
            *self._traffic(),
            *self._schedule_causes(),
            self._data_cause(),
            *self._end_causes(),
        )
        least_s = NEGLIGIBLE_SHARE * self._step.time_s
        shown = tuple(child for child in children if child.value > least_s)
        return computed(
            "step_time_s",
            self._step.time_s,
            "s",
            relation="sum",
            formula="sum over causes",
            children=shown,
        )


def step_time_term(predictor: StepPredictor, plan: Plan, step: Step) -> Term:
    """The tree behind the step time; causes that take no time are left out."""
    return _StepTerms(predictor, plan, step).term()
