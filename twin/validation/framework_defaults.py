"""Which framework a published run used, and what that framework does where the run is silent.

The rules are the same for all runs and come from the frameworks' own files; none is fitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from twin.training.plan import Attention, Recompute

__all__ = ["FRAMEWORK_DEFAULTS", "FrameworkDefaults", "framework_key"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameworkDefaults:
    """How to read a run of one framework where the run itself says nothing."""

    vocabulary_multiple: int = 1
    """The vocabulary is padded to a multiple of this times tp; 1 leaves it as it is. [1]"""
    sequence_parallel: bool = False
    """Sequence parallelism as soon as tp is above 1."""
    recompute: Recompute = "none"
    attention: Attention = "flash"
    interleaving: Literal["none", "most"] = "none"
    """`most`: as many chunks as leave two layers in each."""
    replicated_zero: Literal[0, 1] = 0
    """ZeRO stage of plain tensor and pipeline parallelism: 1 where a distributed optimizer is
    on by default. [1]"""
    precision: str | None = None
    """None: bf16 where the device has it, else fp16."""
    source: str = ""

    def padding(self, tp: int) -> int:
        """Number that the padded vocabulary is a multiple of. [1]"""
        return self.vocabulary_multiple * tp if self.vocabulary_multiple > 1 else 1


MEGATRON_PADDING = 128
"""make_vocab_size_divisible_by of Megatron-LM, megatron/training/arguments.py. [1]"""

FRAMEWORK_DEFAULTS: dict[str, FrameworkDefaults] = {
    "megatron-core": FrameworkDefaults(
        vocabulary_multiple=MEGATRON_PADDING,
        sequence_parallel=True,
        replicated_zero=1,
        source="NVIDIA/Megatron-LM examples/llama/train_llama3_8b_h100_fp8.sh: distributed "
        "optimizer with overlap, sequence parallelism",
    ),
    "megatron-lm": FrameworkDefaults(
        vocabulary_multiple=MEGATRON_PADDING,
        source="NVIDIA/Megatron-LM megatron/training/arguments.py: all of it is opt-in",
    ),
    "megatron-lm-2021": FrameworkDefaults(
        vocabulary_multiple=MEGATRON_PADDING,
        attention="unfused",
        precision="fp16",
        source="Narayanan et al. 2021",
    ),
    "megatron-lm-2022": FrameworkDefaults(
        vocabulary_multiple=MEGATRON_PADDING,
        attention="unfused",
        precision="fp16",
        source="Korthikanti et al. 2022",
    ),
    "megatron-deepspeed": FrameworkDefaults(
        vocabulary_multiple=MEGATRON_PADDING,
        attention="unfused",
        precision="fp16",
        source="VIA-Research/vTrain src/config.py and src/model/gpt_model.py: half precision",
    ),
    "megatron-deepspeed-2023": FrameworkDefaults(
        vocabulary_multiple=MEGATRON_PADDING,
        replicated_zero=1,
        source="FlagOpen/FlagPerf training/benchmarks/llama2_7b/megatron-deepspeed: "
        "megatron-deepspeed_main.sh, ZERO_STAGE=1, --use-flash-attn-v2, --bf16, no recomputation",
    ),
    "megatron-bridge": FrameworkDefaults(
        vocabulary_multiple=MEGATRON_PADDING,
        sequence_parallel=True,
        interleaving="most",
        replicated_zero=1,
        source="NVIDIA-NeMo/Megatron-Bridge src/megatron/bridge/perf_recipes",
    ),
    "nemo": FrameworkDefaults(
        vocabulary_multiple=MEGATRON_PADDING,
        sequence_parallel=True,
        interleaving="most",
        replicated_zero=1,
        source="NVIDIA/NeMo performance recipes, container 24.07 and later",
    ),
    "nemo-launcher": FrameworkDefaults(
        vocabulary_multiple=MEGATRON_PADDING,
        sequence_parallel=True,
        interleaving="most",
        replicated_zero=1,
        source="NVIDIA/NeMo-Framework-Launcher launcher_scripts/conf/training: mixed, on for the "
        "large models",
    ),
    "mlperf": FrameworkDefaults(
        vocabulary_multiple=MEGATRON_PADDING,
        sequence_parallel=True,
        interleaving="most",
        replicated_zero=1,
        source="mlcommons/training_results_v3.1 and v4.0, NVIDIA/benchmarks/gpt3",
    ),
    "torchtitan": FrameworkDefaults(
        sequence_parallel=True,
        recompute="selective",
        source="pytorch/torchtitan at 9dec370: torchtitan/config_manager.py, train_configs",
    ),
    "torchtitan-compiled": FrameworkDefaults(
        sequence_parallel=True,
        recompute="selective",
        source="as torchtitan; runs whose notes say torch.compile",
    ),
    "llm-foundry": FrameworkDefaults(source="mosaicml/llm-foundry scripts/train/benchmarking"),
    "fms-fsdp": FrameworkDefaults(source="foundation-model-stack/fms-fsdp fms_fsdp/policies"),
    "internevo": FrameworkDefaults(
        replicated_zero=1,
        source="InternLM/InternEvo configs/7B_sft.py: ZeRO-1, tensor without sequence parallelism",
    ),
    "deepspeed-hf": FrameworkDefaults(source="assumed: no tensor parallelism, flash attention"),
    "pytorch-te": FrameworkDefaults(source="assumed: flash attention of TransformerEngine"),
    "generic": FrameworkDefaults(source="assumed"),
}

RULES: tuple[tuple[str, str, str], ...] = (
    # framework key, beginning of source_id, part of the framework's name; the first that fits.
    ("mlperf", "mlperf_", ""),
    ("nemo-launcher", "nvidia_nemo_launcher", ""),
    ("megatron-lm-2022", "korthikanti2022", "megatron"),
    ("megatron-lm-2021", "narayanan2021", "megatron"),
    ("megatron-deepspeed", "narayanan2021", "deepspeed"),
    ("megatron-core", "simumax", "megatron"),
    ("megatron-bridge", "", "megatron-bridge"),
    ("nemo", "", "nemo"),
    ("megatron-deepspeed-2023", "flagperf", "megatron-deepspeed"),
    ("megatron-deepspeed", "", "megatron-deepspeed"),
    ("megatron-deepspeed", "", "deepspeed/megatron"),
    ("megatron-core", "", "megatron-core"),
    ("megatron-lm", "", "megatron"),
    ("torchtitan", "", "torchtitan"),
    ("llm-foundry", "", "llm foundry"),
    ("fms-fsdp", "", "ibm fms"),
    ("internevo", "", "internevo"),
    ("pytorch-te", "", "transformerengine"),
    ("deepspeed-hf", "", "deepspeed"),
)


COMPILED = {"torchtitan": "torchtitan-compiled"}
"""Frameworks that compile their layers when told to; the notes of a run say so."""


def framework_key(framework: str, *, source_id: str, notes: str = "") -> str:
    """Key of `FRAMEWORK_DEFAULTS` for a framework as a source names it.

    The source decides where one name covers several ages of software: Megatron-LM of 2021 has
    unfused attention and 16-bit gradients, that of 2026 is Megatron-Core.
    """
    name = framework.lower()
    fitting = (key for key, start, part in RULES if source_id.startswith(start) and part in name)
    key = next(fitting, "generic")
    is_compiled = "torch.compile" in f"{name} {notes}"
    return COMPILED.get(key, key) if is_compiled else key
