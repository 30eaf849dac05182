"""Small examples of every format, written for these tests; their figures are invented."""

import json
from types import SimpleNamespace

import pytest

from hardware_profiles.catalogue import Catalogue
from kernels.importers.files import import_file
from kernels.importers.request import ImportRequest

NCCL_COLUMNS = """\
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw  #wrong     time   algbw   busbw  #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             (us)  (GB/s)  (GB/s)
"""  # noqa: E501

NCCL = f"""\
# nccl-tests version 2.17.6 nccl-headers=22501 nccl-library=22501
# Collective test starting: all_reduce_perf
# nThread 1 nGpus 1 minBytes 1048576 maxBytes 2097152 step: 2(factor) warmup iters: 1 iters: 20
#
# Using devices
#  Rank  0 Group  0 Pid   1946 on    example-1 device  0 [0000:0f:00] NVIDIA H100 80GB HBM3
#  Rank  1 Group  0 Pid   1947 on    example-1 device  1 [0000:15:00] NVIDIA H100 80GB HBM3
#  Rank  2 Group  0 Pid   2046 on    example-2 device  0 [0000:0f:00] NVIDIA H100 80GB HBM3
#  Rank  3 Group  0 Pid   2047 on    example-2 device  1 [0000:15:00] NVIDIA H100 80GB HBM3
example-1:1946:1946 [0] NCCL INFO Bootstrap : Using eth0:10.0.0.1<0>
#
{NCCL_COLUMNS}\
     1048576        262144     float     sum      -1    61.25   17.12   25.68       0    60.50   17.33   26.00       0
     2097152        524288  bfloat16     sum      -1    9.1e1   23.04   34.57       0    90.00   23.30   34.95     N/A
# Out of bounds values : 0 OK
# Avg bus bandwidth    : 30.3
"""  # noqa: E501

# No title, no root, deviations in place of counts of wrong elements, short bus addresses.
OLD_RCCL = """\
# nThread 1 nGpus 2 minBytes 1048576 maxBytes 1048576 step: 2(factor) warmup iters: 5 iters: 20
# Using devices
#   Rank  0 Pid  28341 on example-3 device  0 [0x33] AMD Instinct MI300X
#   Rank  1 Pid  28341 on example-3 device  1 [0x43] AMD Instinct MI300X
#
#                                                     out-of-place                       in-place
#       size         count    type   redop     time   algbw   busbw  error     time   algbw   busbw  error
#        (B)    (elements)                     (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)
     1048576        524288    half     sum    48.10   21.80   21.80  2e-07    47.20   22.22   22.22  2e-07
# Out of bounds values : 0 OK
"""  # noqa: E501

_HEAD = """\
Benchmark started on 2026-01-01 00:00:00

** Command line:
/usr/bin/python mamf-finder.py --m 4096 8192 --n 4096 --k 4096

** Dtype: {dtype}

** Platform/Device info:
- Linux example
- _CudaDeviceProperties(name='NVIDIA H100 80GB HBM3', major=9, minor=0, multi_processor_count=132)

** Critical software versions:
- torch=2.9.0

** Additional notes:
- benchmark version: {version}

"""

MAMF_ROWS = """\
     1 |  610.1(mean)  600.0(median)  640.0(max) @ 4096x4096x4096       | best:  610.1(mean)  600.0(median)  640.0(max) TFLOPS
     2 |  650.0(mean)  655.0(median)  700.0(max) @ 8192x4096x4096       | best:  650.0(mean)  655.0(median)  700.0(max) TFLOPS

Tried 2 shapes => the best outcomes were:
mean:   650.0 TFLOPS @ 8192x4096x4096 (MxNxK)
"""  # noqa: E501
MAMF = _HEAD.format(dtype="torch.bfloat16", version=2) + MAMF_ROWS
MAMF_1 = _HEAD.format(dtype="torch.bfloat16", version=1) + (
    "     1 |  600.0 TFLOPS @ 4096x4096x4096       | best:  600.0 TFLOPS @ 4096x4096x4096\n"
)
MAMF_4 = _HEAD.format(dtype="float8_e4m3fn", version=4) + (
    "     1  4096x4096x4096     1210.1 1200.0 1240.0 1210.1   690  1755\n"
)

NEUSIGHT = """\
OPName,Latency,Device,Torch Version,Kernel Name,B,M,N,K
linear,1.25,NVIDIA L4,p2.1.0,"ampere_sgemm<4, 5>",1,1024,2560,512
bmm,0.5,NVIDIA L4,p2.1.0,ampere_sgemm,32,128,64,256
conv2d,0.5,NVIDIA L4,p2.1.0,implicit_gemm,1,1,1,1
"""
NEUSIGHT_VECTORS = """\
OPName,Latency,Device,Kernel Name,B,H
ln,0.75,AMD Instinct MI210,layer_norm,4096,1600
addu,0.25,AMD Instinct MI210,elementwise,4096,1600
"""

_AIC = "framework,version,device,op_name,kernel_source"
AIC_GEMM = f"""\
{_AIC},gemm_dtype,m,n,k,latency
TRTLLM,1.0.0,NVIDIA H100 80GB HBM3,gemm,torch_flow,fp8_block,128,4096,8192,0.05
TRTLLM,1.0.0,NVIDIA H100 80GB HBM3,gemm,torch_flow,int4_wo,128,4096,8192,0.06
"""
_AIC_ATTENTION = (
    f"{_AIC},batch_size,isl,num_heads,num_key_value_heads,head_dim,window_size,beam_width,"
    "attn_dtype,kv_cache_dtype,step,latency\n"
)
AIC_CONTEXT = f"""\
{_AIC_ATTENTION}\
VLLM,0.14.0,NVIDIA H100 80GB HBM3,context_attention,vllm_flash_attn,2,4096,32,8,128,0,1,bfloat16,bfloat16,0,1.5
VLLM,0.14.0,NVIDIA H100 80GB HBM3,context_attention,vllm_flash_attn,2,4096,32,8,128,128,1,bfloat16,bfloat16,0,1.1
VLLM,0.14.0,NVIDIA H100 80GB HBM3,context_attention,vllm_flash_attn,2,4096,32,8,128,0,1,bfloat16,fp8,0,1.4
"""  # noqa: E501
AIC_GENERATION = f"""\
{_AIC_ATTENTION}\
SGLang,0.5.10,NVIDIA H100 80GB HBM3,generation_attention,flash_attention,64,1,32,0,128,0,1,bfloat16,bfloat16,1023,0.09
"""  # noqa: E501
AIC_NCCL = """\
nccl_dtype,num_gpus,message_size,kernel_source,op_name,latency
half,8,524288,NCCL,alltoall,0.04
"""
AIC_ALL_REDUCE = f"""\
{_AIC},allreduce_dtype,num_gpus,message_size,latency,backend
SGLang,0.5.10,NVIDIA H100 80GB HBM3,all_reduce,SGLang_CustomAllReduce_graph,bfloat16,2,128,0.0045,sglang_graph
"""  # noqa: E501


def shares(**by_shape):
    return {"tflops": 2000.0, "accurate_efficient_factor": by_shape}


_TOKENS = "b=1, m=4096, k=8192, n=1024, layout=TN, accumulate=False, out_dtype=bf16"
_ADDING = "b=1, m=8192, k=4096, n=1024, layout=NT, accumulate=True, out_dtype=fp32"
_HEADS = "batch=1, seq_len=4096, head_num=32, kv_head_num={kv}, qk_head_dim={keys}, v_head_dim=128"
_EQUAL, _NARROW = _HEADS.format(kv=8, keys=128), _HEADS.format(kv=32, keys=192)
_OPERATORS = {
    "default": {"tflops": 2000.0, "efficient_factor": 0.5},
    "matmul": shares(**{_TOKENS: 0.5, _ADDING: 0.4}),
    "group_matmul": shares(**{"ng=8, M=128, N=256, K=512": 0.1}),
    "sdp_fwd": shares(**{_EQUAL: 0.8, _NARROW: 0.7}),
    "sdp_bwd": shares(**{_EQUAL: 0.5}),
}
SIMUMAX = json.dumps(
    {"sys_name": "example_bf16", "accelerator": {"backend": "cuda", "op": _OPERATORS}}, indent=1
)

TIDY = """\
device,dtype,m,n,k,library,latency_us
H100-SXM5-80GB,bf16,4096,4096,4096,vllm-0.24.0:x,190.5
"""


def benchmark(extra, median_s=0.002):
    return {"name": "test_gemm", "extra_info": extra, "stats": {"median": median_s, "rounds": 5}}


GEMM_EXTRA = {"device": "H100", "library": "x", "dtype": "float32", "m": 256, "n": 512, "k": 64}
OPERATION_EXTRA = {"device": "H100", "library": "numba", "dtype": "float32"} | {
    "op": "rmsnorm/bwd",
    "rows": 2048,
    "cols": 4096,
}


def report(*benchmarks):
    return json.dumps({"machine_info": {"node": "example"}, "benchmarks": [*benchmarks]}, indent=1)


PYTEST = report(
    benchmark(GEMM_EXTRA), benchmark(OPERATION_EXTRA, 0.001), benchmark({"what": "a screen"})
)

SAMPLES = {
    "nccl": NCCL,
    "old_rccl": OLD_RCCL,
    "mamf": MAMF,
    "mamf_1": MAMF_1,
    "mamf_4": MAMF_4,
    "neusight": NEUSIGHT,
    "neusight_vectors": NEUSIGHT_VECTORS,
    "aic_gemm": AIC_GEMM,
    "aic_context": AIC_CONTEXT,
    "aic_generation": AIC_GENERATION,
    "aic_nccl": AIC_NCCL,
    "aic_all_reduce": AIC_ALL_REDUCE,
    "pytest": PYTEST,
    "simumax": SIMUMAX,
    "tidy": TIDY,
}

CATALOGUE = Catalogue()


@pytest.fixture(scope="session")
def samples():
    """Every example by name, and what makes more of them."""
    return SimpleNamespace(
        all=SAMPLES,
        benchmark=benchmark,
        report=report,
        gemm_extra=GEMM_EXTRA,
        operation_extra=OPERATION_EXTRA,
    )


@pytest.fixture
def imported(tmp_path):
    """Import a text, or bytes, under a name that says nothing."""

    def call(content, **said):
        path = tmp_path / "measured.dat"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return import_file(path, ImportRequest(catalogue=CATALOGUE, **said))

    return call
