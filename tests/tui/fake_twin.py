"""A twin with round answers, so that screens are tested without physics."""

from __future__ import annotations

from hardware_profiles.errors import TweelingError
from tests.tui.fake_runs import FakeValidationView
from tests.tui.fake_shelf import FakeCatalogueView, FakeKernelView
from twin.explain.inputs import computed, total
from twin.explain.term import Term
from twin.prediction import Interval, MemoryUse, Prediction, PredictionWarning
from twin.scenario.resolve import Catalogues
from twin.scenario.scenario import Scenario
from twin.training.plan import Plan

GB = 1e9
CLASSES = dict.fromkeys(
    (
        "tokens_per_s",
        "tokens_per_s_per_device",
        "mfu",
        "step_time_s",
        "device_power_w",
        "it_power_w",
        "facility_power_w",
        "energy_per_token_j",
    ),
    ("measured", "fitted", "datasheet"),
)


def around(value: float) -> Interval:
    """A band of ten percent."""
    return Interval(p10=0.9 * value, p50=value, p90=1.1 * value)


def memory_of(micro_batch: int) -> MemoryUse:
    """Round components; activations grow with the micro-batch."""
    return MemoryUse(
        weights_bytes=17 * GB,
        gradients_bytes=17 * GB,
        optimizer_bytes=13 * GB,
        activations_bytes=3 * GB * micro_batch,
        buffers_bytes=2 * GB,
        fragmentation_bytes=1 * GB,
        overhead_bytes=2 * GB,
    )


class FakeTwin:
    """Answers at once; refuses tp 3; does not fit with micro-batch 64."""

    def __init__(self) -> None:
        self.asked: list[Scenario] = []
        self.catalogues = Catalogues.with_folders(())
        self.profile_dirs = ()
        self.catalogue_view = FakeCatalogueView()
        self.kernel_view = FakeKernelView()
        self.validation_view = FakeValidationView()

    def predict(self, scenario: Scenario) -> Prediction:
        """Round numbers that follow devices, sequence and cap."""
        self.asked.append(scenario)
        wished = scenario.plan
        if wished.tp == 3:
            msg = "tp=3 does not divide n_heads=64; use 1, 2, 4, 8, 16, 32, 64"
            raise TweelingError(msg)
        tokens_per_s = 1000.0 * scenario.devices * ((scenario.power_cap_w or 700.0) / 700.0)
        step_s = scenario.seq_len * scenario.global_batch / tokens_per_s
        memory = memory_of(wished.micro_batch or 1)
        breakdown = {
            "gemm_forward": 0.25 * step_s,
            "gemm_backward": 0.5 * step_s,
            "tp_communication": 0.15 * step_s,
            "pp_bubble": 0.1 * step_s,
        }
        it_power_w = 1000.0 * scenario.devices
        energy_j = it_power_w * step_s
        values = {
            "step_time_s": step_s,
            "tokens_per_s": tokens_per_s,
            "tokens_per_s_per_device": tokens_per_s / scenario.devices,
            "mfu": 0.4,
            "device_power_w": 650.0,
            "it_power_w": it_power_w,
            "facility_power_w": 1.2 * it_power_w,
            "energy_per_token_j": energy_j / (scenario.seq_len * scenario.global_batch),
        }
        return Prediction(
            scenario=scenario,
            plan=Plan(
                tp=wished.tp or 4,
                pp=wished.pp or 2,
                dp=max(1, scenario.devices // 8),
                zero=1,
                micro_batch=wished.micro_batch or 1,
                sequence_parallel=True,
            ),
            **values,
            model_flop_per_s_per_device=4e14,
            hfu=0.4,
            memory_bytes_per_device=memory.total_bytes,
            memory_capacity_bytes=80 * GB,
            memory=memory,
            fits_memory=memory.total_bytes <= 80 * GB,
            node_power_w=7000.0,
            energy_per_step_j=energy_j,
            pue=1.2,
            breakdown=breakdown,
            hidden={"tp_communication": 0.1 * step_s},
            interval={name: around(value) for name, value in values.items()},
            classes=CLASSES,
            warnings=(
                PredictionWarning(code="W_BACKWARD_ATTENTION", message="backward is assumed"),
            ),
            profile_hashes={},
            run_time_s=None if scenario.tokens is None else scenario.tokens / tokens_per_s,
            run_energy_j=None if scenario.tokens is None else 1e12,
        )

    def explain(self, scenario: Scenario) -> dict[str, Term]:
        """One tree under every quantity."""
        prediction = self.predict(scenario)
        bandwidth = Term(
            name="memory bandwidth",
            value=3.35e12,
            unit="byte/s",
            figure_class="datasheet",
            source="profile key: accelerator.memory.bandwidth_bytes_per_s; a datasheet",
        )
        leaves = tuple(
            computed(cause, seconds, "s", relation="formula", children=(bandwidth,))
            for cause, seconds in prediction.breakdown.items()
        )
        root = total("step_time_s", "s", leaves, "sum over causes")
        return dict.fromkeys((*CLASSES, "memory_bytes_per_device"), root)
