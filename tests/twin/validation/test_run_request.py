import dataclasses
import os
from collections import Counter
from pathlib import Path

import pytest

from twin.training.plan import Plan
from twin.validation.framework_defaults import COMPILED, FRAMEWORK_DEFAULTS, RULES, framework_key
from twin.validation.run_request import (
    RunRequest,
    Unsupported,
    dense_core_rows,
    is_dense_core,
    run_request,
)
from twin.validation.runs_table import PublishedRun, read_runs
from twin.workload.parameters import total_parameters

DATA = Path(os.environ.get("TWEELING_DATA_DIR", "../shared")) / "published_runs"
needs_runs = pytest.mark.skipif(
    not (DATA / "runs.csv").is_file(), reason="TWEELING_DATA_DIR has no published_runs"
)

LLAMA_70B = PublishedRun(
    run_id="made-up-1",
    source_id="made_up",
    device="H100",
    n_devices=64,
    n_devices_per_node=8,
    model_name="Llama-3-70B",
    n_layers=80,
    hidden=8192,
    ffn_hidden=28672,
    n_heads=64,
    n_kv_heads=8,
    vocabulary=128256,
    is_gated_mlp=True,
    seq_len=8192,
    global_batch=128,
    micro_batch=1,
    task="pretrain",
    precision="bf16",
    framework="Megatron-LM",
    sharding="megatron",
    tp=4,
    pp=4,
    vpp=5,
    step_time_s=10.0,
)


def request_of(**changes):
    request = run_request(dataclasses.replace(LLAMA_70B, **changes))
    assert isinstance(request, RunRequest), request.why
    return request


def why(**changes):
    answer = run_request(dataclasses.replace(LLAMA_70B, **changes))
    assert isinstance(answer, Unsupported)
    assert answer.run_id == "made-up-1"
    return answer.why


def test_a_complete_run_is_taken_over():
    request = request_of()
    assert request.plan == Plan(tp=4, pp=4, vpp=5, dp=4, micro_batch=1)
    assert request.has_stated_layout
    assert request.is_dense_core
    assert total_parameters(request.transformer) == pytest.approx(70.55e9, rel=1e-3)
    assert request.inter_node_bandwidth_bytes_per_s_per_node is None
    assert request.measured_step_time_s == 10.0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"n_experts": 8}, "mixture of experts"),
        ({"task": "lora"}, "LoRA"),
        ({"task": "", "notes": "LoRA fine-tune"}, "LoRA"),
        ({"sharding": "zero3 + CPU optimizer offload"}, "offloaded to the host"),
        ({"n_cpu_offload_layers": 40}, "activations of 40 layers"),
        ({"consistency": "FLAG"}, "contradicts itself"),
        ({"n_layers": None}, "number of layers is not stated"),
        ({"n_heads": None}, "number of heads is not stated"),
        ({"seq_len": None}, "sequence length is not stated"),
        ({"global_batch": None}, "global batch is not stated"),
        ({"micro_batch": None}, "micro-batch is not stated"),
        ({"sharding": ""}, "ZeRO stage is not known"),
        ({"sharding": "zero (stage not on the page read)"}, "ZeRO stage is not known"),
        ({"tp": None}, "sizes are not stated"),
        ({"tp": 3}, "tp=3 pp=4 cp=1 dp=unstated does not make 64 devices"),
        ({"dp": 8}, "tp=4 pp=4 cp=1 dp=8 does not make 64 devices"),
        ({"n_devices": 8}, "does not make 8 devices"),
        ({"step_time_s": None}, "neither a step time nor tokens per second"),
        ({"precision": "fp5"}, 'precision "fp5" is not known'),
        ({"recompute": "some"}, 'recompute "some"; expected none, selective, full'),
        ({"vocabulary": None}, 'vocabulary of "Llama-3-70B" is not stated'),
        ({"n_kv_heads": 7}, "n_kv_heads=7 does not divide n_heads=64"),
    ],
)
def test_what_cannot_be_predicted_says_why(changes, told):
    assert told in why(**changes)


def test_lora_in_the_notes_of_a_pretraining_run_is_no_lora():
    assert request_of(notes="the LoRA rows of the same submitter differ").is_dense_core


@pytest.mark.parametrize(
    ("sharding", "zero", "group"),
    [
        ("megatron", 0, None),
        ("megatron+zero1 (distributed optimizer)", 1, None),
        ("megatron + zero0", 0, None),
        ("fsdp (zero3)", 3, None),
        ("zero2 (fsdp shard_grad_op)", 2, None),
        ("zero1 (groups of 4)", 1, 4),
        ("hsdp", 3, 8),
        ("megatron-fsdp", 3, None),
        ("ddp", 0, None),
    ],
)
def test_sharding_text_gives_the_stage_and_the_group(sharding, zero, group):
    request = request_of(sharding=sharding, tp=1, pp=1, vpp=None, n_devices=128)
    assert (request.plan.zero, request.plan.shard_group) == (zero, group)


def test_a_distributed_optimizer_is_on_by_default_in_recipes():
    assert request_of(framework="NeMo (Megatron-Core)").plan.zero == 1
    assert request_of(framework="Megatron-LM").plan.zero == 0


def test_pure_data_parallelism_needs_no_further_sizes():
    request = request_of(sharding="fsdp", tp=None, pp=None, vpp=None)
    assert request.plan == Plan(dp=64, zero=3)
    assert not request.has_stated_layout


def test_pipelined_torchtitan_keeps_gathered_parameters():
    assert request_of(framework="torchtitan (FSDP2)", sharding="fsdp+tp+pp").plan.zero == 2


def test_batches_follow_from_the_accumulation():
    assert request_of(global_batch=None, n_micro_batches=8).global_batch == 32
    assert request_of(micro_batch=None, n_micro_batches=16).plan.micro_batch == 2


def test_a_rate_serves_as_step_time_with_a_batch_that_follows():
    request = request_of(
        step_time_s=None, tokens_per_s_per_device=1024.0, global_batch=None, n_micro_batches=32
    )
    assert request.measured_step_time_s == pytest.approx(128 * 8192 / (1024 * 64))


def test_silence_of_a_recipe_is_not_plain_1f1b():
    assert request_of(vpp=None, framework="NeMo (Megatron-Core)").plan.vpp == 10
    assert request_of(vpp=None, framework="Megatron-LM").plan.vpp == 1
    assert request_of(vpp=None, framework="NeMo (Megatron-Core)", pp=1).plan.vpp == 1


def test_interleaving_needs_micro_batches_in_whole_rounds():
    assert request_of(vpp=None, framework="NeMo", global_batch=4 * 7).plan.vpp == 1


def test_embedding_and_loss_may_stand_for_a_layer_each():
    request = request_of(n_layers=126, vpp=None, framework="NeMo", pp=8, global_batch=64)
    assert 128 % (8 * request.plan.vpp) == 0
    assert request.plan.vpp == 8


def test_sequence_parallelism_is_stated_or_the_frameworks_and_needs_tp():
    assert request_of(framework="NeMo").plan.sequence_parallel
    assert not request_of(framework="NeMo", has_sequence_parallel=False).plan.sequence_parallel
    assert not request_of(framework="Megatron-LM").plan.sequence_parallel
    assert request_of(has_sequence_parallel=True).plan.sequence_parallel
    assert not request_of(has_sequence_parallel=True, tp=1, n_devices=16).plan.sequence_parallel


def test_attention_is_stated_or_of_its_age():
    assert request_of(has_flash_attention=False).plan.attention == "unfused"
    assert request_of(framework="Megatron-DeepSpeed").plan.attention == "unfused"
    assert request_of(source_id="korthikanti2022").plan.attention == "unfused"
    assert request_of().plan.attention == "flash"


def test_recomputed_layers_count_only_with_full_recomputation():
    assert request_of(recompute="full", n_recompute_layers=5).plan.recompute_layers == 5
    assert request_of(recompute="selective", n_recompute_layers=5).plan.recompute_layers is None


@pytest.mark.parametrize(
    ("precision", "changes", "expected"),
    [
        ("", {}, "bf16"),
        ("amp", {}, "bf16"),
        ("amp", {"device": "V100-32GB"}, "fp16"),
        ("", {"framework": "Megatron-DeepSpeed"}, "fp16"),
        ("not stated (fp16 or bf16)", {}, "bf16"),
        ("bf16+fp8", {}, "fp8"),
        ("mxfp8", {}, "mxfp8"),
        ("fp32", {}, "fp32"),
    ],
)
def test_precision_is_stated_or_of_framework_and_device(precision, changes, expected):
    assert request_of(precision=precision, **changes).precision == expected


def test_the_vocabulary_is_padded_for_the_tensor_parallel_ranks():
    gpt = {"model_name": "GPT-3.6B", "is_gated_mlp": False, "vocabulary": None}
    assert request_of(**gpt).transformer.vocabulary == 50_688
    assert request_of(**gpt, tp=8).transformer.vocabulary == 51_200
    assert request_of(framework="InternEvo", vocabulary=103_168).transformer.vocabulary == 103_168


def test_blank_shapes_follow_the_family():
    llama = request_of(ffn_hidden=None, hidden=4096, n_heads=32, n_kv_heads=None, is_gated_mlp=None)
    assert llama.transformer.ffn_hidden == 11_008
    assert llama.transformer.n_kv_heads == 32
    gpt = request_of(model_name="GPT-800M", is_gated_mlp=None, ffn_hidden=None).transformer
    assert (gpt.ffn_hidden, gpt.norm, gpt.has_tied_embeddings) == (4 * 8192, "layernorm", True)


def test_servers_hold_eight_devices_and_superchip_trays_four():
    assert request_of(n_devices_per_node=None).devices_per_node == 8
    assert request_of(n_devices_per_node=None, device="GB200").devices_per_node == 4


def test_a_stated_network_rate_is_passed_on():
    request = request_of(interconnect_inter="RDMA 400 Gb/s per GPU")
    assert request.inter_node_bandwidth_bytes_per_s_per_node == 400e9


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "fp8"},
        {"precision": "fp32"},
        {"cp": 2},
        {"device": "GB200"},
    ],
)
def test_the_dense_core_leaves_out(changes):
    run = dataclasses.replace(LLAMA_70B, **changes)
    assert is_dense_core(LLAMA_70B)
    assert not is_dense_core(run)
    assert dense_core_rows([run_request(run)]) == ()


@pytest.mark.parametrize(
    ("framework", "source_id", "key"),
    [
        ("Megatron-Bridge (Megatron-Core)", "nvidia_megatron_bridge", "megatron-bridge"),
        ("NeMo (Megatron-Core)", "nvidia_nemo_2407", "nemo"),
        ("NeMo (Megatron-Core)", "nvidia_nemo_launcher", "nemo-launcher"),
        ("NVIDIA NeMo Framework Release 23.09", "mlperf_v3.1", "mlperf"),
        ("Megatron-LM", "korthikanti2022", "megatron-lm-2022"),
        ("Megatron-LM", "narayanan2021", "megatron-lm-2021"),
        ("DeepSpeed", "narayanan2021", "megatron-deepspeed"),
        ("Megatron-LM", "simumax_b200", "megatron-core"),
        ("Megatron-LM", "flagperf", "megatron-lm"),
        ("Megatron-DeepSpeed", "vtrain_multi", "megatron-deepspeed"),
        ("Megatron-DeepSpeed", "flagperf", "megatron-deepspeed-2023"),
        ("Megatron-Core", "megatron_lm_llama_example", "megatron-core"),
        ("torchtitan + torchao (FSDP2)", "torchao_float8", "torchtitan"),
        ("LLM Foundry/Composer (PyTorch FSDP)", "llm_foundry", "llm-foundry"),
        ("PyTorch FSDP (IBM FMS), torch.compile", "fms_fsdp", "fms-fsdp"),
        ("InternEvo", "internevo_7b", "internevo"),
        ("PyTorch + TransformerEngine", "rocm_te_issues", "pytorch-te"),
        ("DeepSpeed + HF + Liger", "ml_engineering_h200_b200", "deepspeed-hf"),
        ("Lightning Fabric, fused kernels", "tinyllama", "generic"),
    ],
)
def test_framework_and_age_give_the_key(framework, source_id, key):
    assert framework_key(framework, source_id=source_id) == key


def test_a_run_that_says_so_is_compiled():
    key = framework_key("torchtitan (FSDP2)", source_id="torchtitan_2024", notes="torch.compile")
    assert key == "torchtitan-compiled"
    assert framework_key("torchtitan (FSDP2)", source_id="torchtitan_2024") == "torchtitan"
    assert framework_key("Megatron-LM", source_id="x", notes="torch.compile") == "megatron-lm"


def test_every_key_has_defaults_with_a_source():
    named = {key for key, _, _ in RULES} | set(COMPILED.values()) | {"generic"}
    assert named == set(FRAMEWORK_DEFAULTS)
    assert all(defaults.source for defaults in FRAMEWORK_DEFAULTS.values())


@needs_runs
def test_the_dense_core_of_the_collection_has_322_rows():
    runs = read_runs(DATA / "runs.csv")
    core = [run for run in runs if is_dense_core(run)]
    assert len(core) == 322
    answers = [run_request(run) for run in runs]
    requests = [answer for answer in answers if isinstance(answer, RunRequest)]
    # One core row names ZeRO without its stage; guessing it would be a choice per row.
    unsupported = {a.run_id for a in answers if isinstance(a, Unsupported)}
    assert {run.run_id for run in core} & unsupported == {"flagperf-0022"}
    assert len(dense_core_rows(requests)) == 321


@needs_runs
@pytest.mark.parametrize(
    ("name", "n_requests"),
    [("runs.csv", 488), ("runs_more.csv", 157), ("runs_vtrain_single_node.csv", 900)],
)
def test_requests_of_the_collection_are_whole(name, n_requests):
    runs = {run.run_id: run for run in read_runs(DATA / name)}
    answers = [run_request(run) for run in runs.values()]
    requests = [answer for answer in answers if isinstance(answer, RunRequest)]
    assert len(requests) == n_requests
    for request in requests:
        assert request.plan.n_devices == request.n_devices == runs[request.run_id].n_devices
        assert request.global_batch % (request.plan.dp * request.plan.micro_batch) == 0
        assert request.transformer.n_heads % request.plan.tp == 0
    reasons = Counter(a.why for a in answers if isinstance(a, Unsupported))
    assert sum(reasons.values()) == len(runs) - n_requests


@needs_runs
def test_models_of_the_collection_have_the_stated_size():
    """Rows above a billion parameters that name their vocabulary, which params_b then counts.

    The column counts two vocabulary tables for models that share one, hence the room below, and
    InternLM-7B is printed as 7 for 7.3.
    """
    for run in read_runs(DATA / "runs.csv"):
        request = run_request(run)
        if not isinstance(request, RunRequest) or not run.vocabulary or not run.n_parameters:
            continue
        if run.n_parameters > 1e9:
            ratio = total_parameters(request.transformer) / run.n_parameters
            assert 0.9 < ratio < 1.05, run.run_id
