"""A small catalogue and its kernels with round figures, so that screens never follow real ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from hardware_profiles.errors import TweelingError
from kernels.own_measurements import Measured
from twin.calibration_view import FitRow
from twin.catalogue_view import FIELDS, Details, Entry, Figure
from twin.figures import parse_figure
from twin.filter_expression import parse_filter
from twin.kernel_bases import KernelBases
from twin.kernel_columns import KernelColumns
from twin.kernel_tables import Progress
from twin.layer_kernels import LayerKernel, layer_columns
from twin.profile_override import FileChange
from twin.roofline import DeviceRoofs, MemoryRoof, PeakRoof

SOURCE = (
    "vendor's data sheet of March 2026, table 2; the handbook of the same month says 79 GB, which"
    " is what the driver reports after its own share: the larger figure is kept"
)
FIT = FitRow(
    family="gemm",
    variant="bf16",
    basis="fitted",
    origin="",
    n_samples=3000,
    n_heldout=600,
    median_fraction=0.039,
    mean_fraction=0.052,
    p90_fraction=0.11,
    left_out_fraction=0.08,
    spread_fraction=0.06,
    date="2026-11-26",
    code_version="0.1.0",
    source="a public table of products, weight shapes set aside: 1/5 by hash",
)
FITS = (
    FIT,
    replace(
        FIT,
        family="attention",
        variant="flash-3 fwd",
        basis="inherited",
        origin="hopper",
        n_samples=None,
        n_heldout=None,
    ),
    replace(
        FIT,
        family="collective",
        variant="all_reduce",
        basis="datasheet",
        n_samples=None,
        n_heldout=None,
        median_fraction=None,
        mean_fraction=None,
        p90_fraction=None,
        left_out_fraction=None,
        date="",
    ),
)
BASES = KernelBases(fits=FITS, step_attention="flash-3")


def accelerator(name, vendor, *, capacity, tdp, bf16, **more):
    numbers = {
        "memory.capacity_bytes": capacity,
        "power.tdp_w": tdp,
        "compute.peak_flop_per_s.bf16": bf16,
    }
    return Entry(
        kind="accelerator",
        name=name,
        title=f"{vendor.title()} {name}",
        vendor=vendor,
        texts={"vendor": vendor, "architecture": "hopper", **more.pop("texts", {})},
        numbers=numbers,
        **more,
    )


ENTRIES = (
    accelerator("alpha-80", "nvidia", capacity=80e9, tdp=700.0, bf16=1e15, aliases=("A80",)),
    accelerator("beta-192", "amd", capacity=192e9, tdp=750.0, bf16=1.3e15),
    accelerator(
        "gamma-next", "amd", capacity=432e9, tdp=None, bf16=1e16, texts={"status": "announced"}
    ),
    Entry(kind="node", name="alpha-box", title="Eight alpha-80", numbers={"n_devices": 8.0}),
    Entry(kind="cluster", name="dgx-h100", title="A box", texts={"status": "template"}),
    Entry(kind="cluster", name="lumi-g", title="LUMI-G", texts={"status": "operating"}),
    Entry(kind="site", name="broken", problem='/home/me/broken.toml: pue = "x": expected a number'),
    Entry(kind="site", name="kajaani", title="Kajaani", numbers={"pue": 1.03}),
    Entry(kind="model", name="mistral-7b", title="Mistral 7B", numbers={"parameters": 7.2e9}),
)
CLASSES = {"memory.capacity_bytes": "datasheet", "power.tdp_w": "assumed"}


class FakeCatalogueView:
    """Answers from `ENTRIES`."""

    def names(self):
        return tuple((entry.kind, entry.name) for entry in ENTRIES)

    def entry(self, kind, name):
        return next(one for one in ENTRIES if (one.kind, one.name) == (kind, name))

    def filter(self, text):
        return parse_filter(text, fields=FIELDS, parse=parse_figure)

    def details(self, kind, name):
        entry = self.entry(kind, name)
        texts = [
            Figure(key=key, value=text, figure_class=None, source="", is_figure=False)
            for key, text in entry.texts.items()
        ]
        figures = [
            Figure(key=key, value=value, figure_class=CLASSES.get(key, "measured"), source=SOURCE)
            for key, value in entry.numbers.items()
        ]
        is_device = kind == "accelerator" and not entry.is_announced
        return Details(
            entry=entry,
            path=Path("/profiles") / f"{name}.toml",
            figures=(*texts, *figures),
            fits=FITS if is_device else (),
            device=name if kind == "accelerator" else None,
        )

    def clusters_with(self, kind, name):
        return {"alpha-80": ("lumi-g",), "alpha-box": ("dgx-h100", "lumi-g")}.get(name, ())

    def device_of(self, kind, name):
        return "alpha-80"

    def override(self, entry, figure, value, *, folder):
        if value > 1e18:
            msg = f"{figure.key} = {value:g}: expected less"
            raise TweelingError(msg)
        path = folder / f"{entry.kind}s" / f"{entry.name}.toml"
        before = path.read_text() if path.exists() else None
        words = f"{entry.name} {figure.key} set"
        return FileChange(path=path, before=before, after=f"{figure.key} = {value}\n", words=words)


ROOFS = DeviceRoofs(
    device="alpha-80",
    peaks=(
        PeakRoof(dtype="fp8", flop_per_s=2e15, figure_class="datasheet", source=SOURCE),
        PeakRoof(dtype="bf16", flop_per_s=1e15, figure_class="datasheet", source=SOURCE),
    ),
    memories=(
        MemoryRoof(level="cache", bytes_per_s=2e13, figure_class="fitted", source="GEMM fit"),
        MemoryRoof(level="memory", bytes_per_s=4e12, figure_class="datasheet", source=SOURCE),
        MemoryRoof(level="link", bytes_per_s=4.5e11, figure_class="datasheet", source=SOURCE),
    ),
)


def kernel(family, name, *, tokens=4096.0, flop=1e12, traffic=1e9, time=2e-3):
    sizes = {"gemm": (tokens, 4096.0, 4096.0, 1.0), "attention": (1, 32, 8, tokens, tokens, 128, 1)}
    return LayerKernel(
        family=family,
        name=name,
        direction="fwd",
        dtype="bf16",
        origin="llama-3-8b tp1 4k",
        sizes=sizes.get(family, (tokens, 4096.0)),
        flop=flop,
        traffic_bytes=traffic,
        predicted_s=time,
        roof_s=max(flop / 1e15, traffic / 4e12),
    )


def layer_rows() -> KernelColumns:
    kernels = [
        kernel("gemm", "qkv"),
        kernel("gemm", "mlp up", tokens=8192.0, flop=4e12, time=5e-3),
        kernel("attention", "attention core", flop=5e11, traffic=2e8, time=1e-3),
        kernel("stream", "norms and activation", flop=0.0, traffic=3e9, time=1e-3),
        kernel("collective", "all_reduce", flop=0.0, traffic=1e8, time=4e-4),
    ]
    return layer_columns(kernels)


def measured_rows(n_rows: int = 6) -> KernelColumns:
    kernels = [
        kernel(
            "gemm", "gemm", tokens=1024.0 * (row + 1), flop=1e12 * (row + 1), time=2e-3 * (row + 1)
        )
        for row in range(n_rows)
    ]
    columns = layer_columns([replace(one, origin="measured 2026-11-26") for one in kernels])
    measured_s = columns.predicted_s * (1.0 + 0.04 * np.arange(n_rows))
    return replace(columns, measured_s=measured_s, is_heldout=np.arange(n_rows) % 3 == 0)


class FakeKernelView:
    """Answers for alpha-80; gamma-next lacks a figure."""

    def devices(self):
        return ("alpha-80", "beta-192", "gamma-next")

    def title(self, device):
        return f"The {device}"

    def roofs(self, device):
        if device == "gamma-next":
            msg = "gamma-next is announced and lacks power.tdp_w"
            raise TweelingError(msg)
        return ROOFS

    def bases(self, device):
        return BASES

    def layers(self, device):
        return layer_rows()

    def own(self, device):
        if device != "alpha-80":
            return None
        return Measured(
            folder=Path("/own"), device="NVIDIA Alpha", date="2026-11-26", software="driver 1"
        )

    def devices_in(self, path):
        return (("beta-192",), ()) if path.name == "beta.json" else ((), ())

    def measured(self, device, path, *, elsewhere=()):
        if path.name == "absent.csv":
            msg = f"{path}: no such file or folder"
            raise TweelingError(msg)
        progress = Progress(n_rows=6, path=path)
        if path.name == "beta.json" and device != "beta-192":
            yield progress
            return
        for row in (3, 6):
            progress.n_read = progress.n_kept = row
            progress.parts = [measured_rows(row)]
            yield progress
