"""Which implementation the text of a library column stands for."""

import pytest

from kernels.libraries import implementation


@pytest.mark.parametrize(
    ("library", "name"),
    [
        ("sglang-0.4.6:SGLang_CustomAllReduce_graph", "sglang-v1-graph"),
        ("sglang-0.5.6.post2:SGLang_CustomAllReduce_eager", "sglang-v1-eager"),
        ("sglang-0.5.9:SGLang_CustomAllReduce_graph", "sglang-v1-graph"),
        ("sglang-0.5.10:SGLang_CustomAllReduce_graph", "sglang-v1-graph"),
        ("sglang-0.5.3rc2:SGLang_CustomAllReduce_graph", "sglang-v1-graph"),
        ("sglang-0.5.9+cu129:SGLang_CustomAllReduce_eager", "sglang-v1-eager"),
        ("sglang-0.5.11:SGLang_CustomAllReduce_graph", "sglang-v1-graph"),
        ("sglang-0.5.12:SGLang_CustomAllReduce_graph", "sglang-graph"),
        ("sglang-0.5.100:SGLang_CustomAllReduce_eager", "sglang-eager"),
        ("sglang-0.5.14:SGLang_CustomAllReduce_graph", "sglang-graph"),
        ("sglang-0.6.0:SGLang_CustomAllReduce_eager", "sglang-eager"),
        ("sglang-0.5.6.post2:TRTLLM", "trtllm"),
        ("nccl-2.29.2", "vendor"),
    ],
)
def test_versions_with_other_kernels_are_other_implementations(library, name):
    assert implementation("collectives", library) == name
