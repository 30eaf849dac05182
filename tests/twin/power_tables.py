"""Lines of tables of server power and of published runs."""

from __future__ import annotations

POWER_HEADER = (
    "mlperf_version,submitter,system,benchmark,device,nodes,devices_per_node,"
    "mean_run_min,mean_node_w,measured_at"
)
RUN_HEADER = (
    "run_id,source_id,device,devices_total,devices_per_node,model_name,layers,hidden,ffn_hidden,"
    "heads,kv_heads,vocab,gated_mlp,seq_len,global_batch_seqs,micro_batch_seqs,precision,framework,"
    "sharding,tp,pp,vpp,step_time_s,task,steps_share_of_run,provenance"
)
SHAPE = "H100,64,8,GPT,48,8192,32768,64,64,51200,False,2048,256"


def run_line(run_id, *, layout="2,fp8,NeMo,megatron,4,4,6", **cells):
    """A line of a table of runs; a task, a share of steps and a provenance at its end."""
    task, share = cells.get("task", "pretrain"), cells.get("share", "0.9")
    where = cells.get("where", "who/results/8xBOX/gpt3")
    provenance = f"READ mlcommons/training_results_v4.0 {where}/result_*.txt"
    return f"{run_id},mlperf_v4.0,{SHAPE},{layout},2.0,{task},{share},{provenance}"


def power_line(*, submitter="who", benchmark="gpt3", watts=6800, meter="AC", device="H100"):
    return f"v4.0,{submitter},8xBOX,{benchmark},{device},8,8,50,{watts},{meter}"
