"""The stored baseline of a device: where it lies, and how a run becomes one.

    python -m benches.baseline where --backend cuda     its file; exit code 1 when there is none yet
    python -m benches.baseline record measured/benches.json

pytest-benchmark matches benches by name, and its own storage is told apart by system and Python
version: an H100's numbers would be held against an H200's. So there is one file per device here,
named after it, in ``benches/baselines`` (or the folder that TWEELING_BASELINES names), and
``--benchmark-compare=FILE`` takes it. A comparison with another device's is refused.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from hardware_profiles.errors import TweelingError
from hardware_profiles.whole_files import write_text_whole
from kernels.backends import find_device, host_device

FOLDER = Path(__file__).parent / "baselines"
VARIABLE = "TWEELING_BASELINES"
NOT_THERE, BAD_INPUT = 1, 2
SAMPLES = "data"
"""Key of the single samples, which a comparison does not need."""


class BaselineError(TweelingError):
    """A file cannot be a baseline."""


def baseline_path(device_name: str) -> Path:
    """File of a device's baseline, whether or not it is there."""
    slug = replace(host_device(), name=device_name).slug
    return Path(os.environ.get(VARIABLE) or FOLDER) / f"{slug}.json"


def record(path: Path) -> Path:
    """Keep a run (``--benchmark-json``) as the baseline of its device, without its samples."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        machine, benchmarks = document["machine_info"], document["benchmarks"]
        device = machine["device"]
        kernels = [one for one in benchmarks if "family" in one["extra_info"]]
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror or error})"
        raise BaselineError(msg) from error
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{path}: no run of these benches ({error}); expected JSON of --benchmark-json"
        raise BaselineError(msg) from error
    if not kernels:
        msg = f"{path}: holds no bench of a kernel"
        raise BaselineError(msg)
    for one in kernels:
        one["stats"].pop(SAMPLES, None)
    target = baseline_path(device)
    text = json.dumps({**document, "benchmarks": kernels}, indent=1, sort_keys=True)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text_whole(target, text + "\n")
    except OSError as error:
        msg = f"{target}: cannot be written ({error.strerror or error}); {VARIABLE} names a folder"
        raise BaselineError(msg) from error
    return target


def main(arguments: list[str] | None = None) -> int:
    """Run one of the two verbs; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benches.baseline", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    where = verbs.add_parser("where")
    where.add_argument("--backend", default="auto")
    verbs.add_parser("record").add_argument("file", type=Path)
    options = parser.parse_args(arguments)
    try:
        if options.verb == "record":
            print(record(options.file))
            return 0
        device = find_device(options.backend).name
    except TweelingError as error:
        print(f"benches.baseline: {error}", file=sys.stderr)
        return BAD_INPUT
    path = baseline_path(device)
    if not path.is_file():
        words = f"no baseline of {device} yet ({path} is not there)"
        print(f"benches.baseline: {words}; make bench-baseline records one", file=sys.stderr)
        return NOT_THERE
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
