"""Compile every device source without a GPU and print what each kernel needs.

``python -m kernels.gpu.compile [--every] [--arch sm_90a …]``; ends with 1 when something does not
compile.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from kernels.gpu.report import architectures, rows, table, why_skipped

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; returns 1 when a kernel fails to compile."""
    parser = argparse.ArgumentParser(prog="python -m kernels.gpu.compile", description=__doc__)
    parser.add_argument(
        "--arch", action="append", choices=architectures(), help="only this one; may be repeated"
    )
    parser.add_argument(
        "--every", action="store_true", help="every entry for every architecture, not in turn"
    )
    options = parser.parse_args(arguments)
    wanted = options.arch or architectures()
    for architecture in wanted:
        reason = why_skipped(architecture)
        if reason is not None:
            sys.stdout.write(f"skipped {architecture}: {reason}\n")
    found = []
    for row in rows(wanted, every=options.every):
        found.append(row)
        sys.stderr.write(f"\r{len(found)} compiled" if sys.stderr.isatty() else "")
    sys.stdout.write("".join(f"{line}\n" for line in table(found)))
    return 1 if any(row.failure for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
