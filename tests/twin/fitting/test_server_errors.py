"""Runs of servers whose kernels are published, with and without a profile fitted to these."""

import pytest

from twin.fitting.server_errors import catalogued, server_errors
from twin.predict import Predictor
from twin.validation.measured_servers import measured_servers
from twin.validation.runs import validate_runs

SERVER = measured_servers()[0]
HEADER = (
    "run_id,source_id,device,devices_total,devices_per_node,model_name,layers,hidden,ffn_hidden,"
    "heads,kv_heads,vocab,gated_mlp,seq_len,global_batch_seqs,micro_batch_seqs,precision,framework,"
    "sharding,tp,pp,dp,recompute,step_time_s"
)
RUN = (
    "{run_id},{source_id},{device},8,8,llama,32,4096,14336,32,8,128256,True,4096,64,1,bf16,"
    "Megatron-Core,megatron,1,1,8,none,2.0"
)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "runs.csv"
    own = RUN.format(run_id="own-1", source_id=SERVER.source_id, device=SERVER.device)
    other = RUN.format(run_id="other-1", source_id="another_lab", device=SERVER.device)
    path.write_text("\n".join((HEADER, own, other)) + "\n")
    return path


def test_only_runs_of_measured_servers_are_predicted_anew(table):
    predictor = Predictor()
    runs = validate_runs(table, predictor=predictor).runs
    own, other = catalogued(runs, table, predictor)
    assert runs[0].accelerator == SERVER.accelerator
    assert own.accelerator == other.accelerator == runs[1].accelerator
    assert other is runs[1]
    # The same plan on the same device: what is left is the source that is left out.
    assert own.predicted_step_time_s == other.predicted_step_time_s
    (found,) = server_errors(runs, [own, other])
    assert found.own.summary.bias == runs[0].left_out_signed_error
    assert found.catalogued.summary.bias == own.left_out_signed_error
    assert found.own.summary.n == found.catalogued.summary.n == 1
