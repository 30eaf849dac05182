"""``docs/validation.md``: errors, ablation, constants and misses, from the runs themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twin.fitting.ablation import Ablation
from twin.fitting.homes import current_constants
from twin.fitting.parameters import fit_parameters, source_trust
from twin.fitting.server_errors import ServerErrors, server_errors
from twin.validation.predicted_run import PredictedRun
from twin.validation.run_ordering import ordering
from twin.validation.statistics import ErrorSummary, summarise

__all__ = ["Section", "validation_document"]

FEWEST_ABLATED = 5
"""Runs of a source below which a column of the ablation says nothing. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Runs that are judged together."""

    name: str
    sources: tuple[str, ...]
    """Beginnings of source ids; none stands for all runs of the first table that are dense and
    state their layout."""


SECTIONS = (
    Section(name="dense, layout stated", sources=()),
    Section(name="vtrain_multi", sources=("vtrain_multi",)),
    Section(name="vtrain_single", sources=("vtrain_single",)),
    Section(name="korthikanti2022", sources=("korthikanti2022",)),
    Section(name="llm_foundry", sources=("llm_foundry",)),
    Section(name="nvidia_dgxc", sources=("nvidia_dgxc",)),
    Section(name="nvidia_nemo_*", sources=("nvidia_nemo",)),
    Section(name="nvidia_megatron_bridge", sources=("nvidia_megatron_bridge",)),
    Section(name="simumax_b200", sources=("simumax_b200",)),
    Section(name="internevo_7b", sources=("internevo_7b",)),
    Section(name="torchtitan_*", sources=("torchtitan",)),
    Section(name="MLPerf pre-training", sources=("mlperf",)),
    Section(name="fms_fsdp", sources=("fms_fsdp",)),
    Section(name="megatron_lm_llama_example", sources=("megatron_lm_llama_example",)),
    Section(name="narayanan2021", sources=("narayanan2021",)),
    Section(name="bigscience_tr11", sources=("bigscience_tr11",)),
    Section(name="bigscience_tr3m", sources=("bigscience_tr3m",)),
    Section(name="torchao_float8", sources=("torchao_float8",)),
    Section(name="mi350x_bench", sources=("mi350x_bench",)),
)

INTRODUCTION = """# Predictions against published runs

Written by `python -m twin.fitting.document --from FOLDER`; do not edit.

Every run is predicted twice: with the shipped constants of its framework, which were fitted on all
sources (*in-sample*), and with constants fitted without its own source and that source's sisters
(*left out*: all of vTrain, MLPerf, torchtitan and NeMo count as one source each). The left-out
column is the honest one. No constant belongs to a run, a model or a table.

What is not left out: forms of the model, and some priors, were found by looking at these runs. Of
one source alone come: that torchtitan's context ranks hold contiguous chunks (its own long
sequences say so), that InternEvo broadcasts its shards one after the other and overlaps only
gradients (its own files say so, its runs showed that it matters), and that code of 2021 and 2022
neither overlaps tensor-parallel sums nor has the second version of flash attention. Hosts of 2021
take 24 us for a launch by a prior from our own surveys of eager layers, near what vTrain's runs
say. Where a prior is a first fit on published runs, the table of constants says so.

One source, `simumax_b200`, has measured its server kernel by kernel, as an owner of a cluster
would. Bf16 products of 1e12 flop and more run at 1,060 to 1,150 TFLOP/s there (p10 to p90, median
1,110), at 1,310 to 1,660 (median 1,450) in AIConfigurator's power rows of a B200 at the same
limit of 1,000 W. Its runs are predicted with a profile that `twin calibrate` fitted to that table
and to no run (`twin/validation/measured_servers.toml`); the table of servers below says what that
is worth, for them and for the totals. Its left-out error without such a profile had been seen
before, and so were those of four ways to use the table (4 to 8 %); what stands is what the verb
does with any thin table.
"""


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100.0 * value:.1f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return ["| " + " | ".join(cells) + " |" for cells in (header, rule, *rows)]


def _of(section: Section, runs: Sequence[PredictedRun]) -> list[PredictedRun]:
    if section.sources:
        return [run for run in runs if run.source_id.startswith(section.sources)]
    apart = ("vtrain_single", "narayanan", "bigscience", "torchao", "mi350x", "tinyllama")
    return [run for run in runs if run.is_dense_stated and not run.source_id.startswith(apart)]


def _cells(summary: ErrorSummary | None) -> list[str]:
    if summary is None:
        return ["", "", "", ""]
    values = (summary.median_ape, summary.mape, summary.p90_ape, summary.bias)
    return [_percent(value) for value in values]


def _errors(runs: Sequence[PredictedRun]) -> list[str]:
    rows = []
    for section in SECTIONS:
        found = _of(section, runs)
        if not found:
            continue
        fitted = summarise([run.signed_error for run in found])
        left = summarise([run.left_out_signed_error for run in found])
        rows.append([section.name, str(len(found)), *_cells(left), *_cells(fitted)])
    header = ["runs", "n", *(f"left out: {name}" for name in ("median", "mean", "p90", "bias"))]
    header += ["in-sample: median", "mean", "p90", "bias"]
    return ["## Step time, error in %", "", *_table(header, rows)]


def _orders(runs: Sequence[PredictedRun]) -> list[str]:
    rows = [
        [
            one.name,
            str(one.pairs),
            _percent(one.left_out_ordered_share),
            _percent(one.ordered_share),
        ]
        for one in ordering(runs)
    ]
    text = (
        "Pairs of runs of one source, model, device, number of devices and global batch whose "
        "measured times differ by more than 10 %, and the share of them in %, that is predicted "
        "in the right order."
    )
    return ["## Order", "", text, "", *_table(["source", "pairs", "left out", "in-sample"], rows)]


def _total(runs: Sequence[PredictedRun]) -> str:
    found = summarise([run.left_out_signed_error for run in runs])
    return f"{_percent(found.median_ape)} and {_percent(found.p90_ape)} %" if found else "unknown"


def _servers(
    found: Sequence[ServerErrors],
    dense: Sequence[PredictedRun],
    catalogued_dense: Sequence[PredictedRun],
) -> list[str]:
    rows = [
        [
            f"{one.source_id}, {one.device}",
            str(one.own.summary.n),
            *(
                _percent(value)
                for value in (one.catalogued.summary.mape, one.catalogued.summary.bias)
            ),
            str(one.catalogued.n_inside),
            *(_percent(value) for value in (one.own.summary.mape, one.own.summary.bias)),
            str(one.own.n_inside),
        ]
        for one in found
    ]
    text = (
        "Runs of servers whose source has published their kernels, with its runs left out of the "
        "fit: predicted for the device of the catalogue, and for the profile that was fitted to "
        "the server's kernels. Errors in %, and how many of the runs lie between p10 and p90."
    )
    rest = (
        f"Median and p90 of all dense runs, left out, are {_total(dense)}, and "
        f"{_total(catalogued_dense)} with the catalogue's devices for these servers. Errors of "
        "similar runs beside a prediction are those with the catalogue's devices, since few users "
        "have a table of their kernels."
    )
    header = ["server", "n", "catalogue: mean", "bias", "inside"]
    header += ["own kernels: mean", "bias", "inside"]
    heading = "## Servers with kernels of their own"
    return [heading, "", text, "", *_table(header, rows), "", rest]


def _ablations(found: Sequence[Ablation], counts: dict[str, int]) -> list[str]:
    sources = [name for name in found[0].by_source if counts[name] >= FEWEST_ABLATED]
    full = found[0]
    rows = []
    for one in found:
        cells = [one.name, _percent(one.median)]
        for source in sources:
            change = one.by_source[source] - full.by_source[source]
            cells.append(
                _percent(one.by_source[source]) if one is full else f"{100.0 * change:+.1f}"
            )
        rows.append(cells)
    text = (
        "Each term switched off once. The first line is the mean absolute error in % with "
        "everything on, the others what it changes by without the term. Each line has one factor "
        "for all runs, so a term counts for what it tells runs apart by, not for its mean; the "
        "median is over all runs."
    )
    return ["## What each term buys", "", text, "", *_table(["without", "median", *sources], rows)]


def _constants() -> list[str]:
    current = current_constants(fit_parameters())
    rows = [
        [
            f"`{parameter.home}` {parameter.key}",
            f"{parameter.prior:.3g}",
            f"{parameter.sigma:.2g}",
            f"{current[parameter.place]:.3g}",
            parameter.reason,
        ]
        for parameter in fit_parameters()
    ]
    weights = ", ".join(f"{name} {weight:g}" for name, weight in source_trust().items())
    text = (
        "Fitted by `python -m twin.fitting --from FOLDER` on logarithms, with priors, robust "
        "weights and sources weighing as 8 + n^0.75 of their n runs "
        f"(but {weights}, for the reasons in `twin/fitting/parameters.toml`). Everything else in "
        "`twin/training/frameworks/*.toml` is a count, a default read in the framework's files, or "
        "an assumption that the file marks as such."
    )
    header = ["constant", "prior", "sigma of its logarithm", "fitted", "prior from"]
    return ["## Constants that are fitted", "", text, "", *_table(header, rows)]


def _misses(runs: Sequence[PredictedRun]) -> list[str]:
    missed = sorted((run for run in runs if run.why is not None), key=lambda run: -run.left_out_ape)
    groups: dict[str, list[PredictedRun]] = {}
    for run in missed:
        groups.setdefault(str(run.why), []).append(run)
    rows = [
        [
            ", ".join(f"{run.run_id} {100.0 * run.left_out_signed_error:+.0f}" for run in found[:8])
            + (f" and {len(found) - 8} more" if len(found) > 8 else ""),
            str(len(found)),
            why,
        ]
        for why, found in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]
    header = ["runs, error left out in %", "n", "the reason believed"]
    return ["## Missed by more than 15 %, in-sample or left out", "", *_table(header, rows)]


def validation_document(
    runs: Sequence[PredictedRun],
    ablations: Sequence[Ablation],
    catalogued_runs: Sequence[PredictedRun],
) -> str:
    """The document's text.

    Parameters
    ----------
    runs
        All predicted runs of all tables.
    ablations
        The full model and each term switched off.
    catalogued_runs
        The same, servers whose source has published their kernels being the catalogue's devices.
    """
    counts: dict[str, int] = {}
    for run in runs:
        counts[run.source_id] = counts.get(run.source_id, 0) + 1
    dense = _of(SECTIONS[0], runs)
    blocks = (
        [INTRODUCTION.rstrip()],
        _errors(runs),
        _orders(dense),
        _servers(server_errors(runs, catalogued_runs), dense, _of(SECTIONS[0], catalogued_runs)),
        _ablations(ablations, counts),
        _constants(),
        _misses(runs),
    )
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"
