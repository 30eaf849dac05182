"""``python -m twin.fitting.document --from DIR``: write what the published runs say.

Writes ``docs/validation.md`` of the repository and the table of similar runs that stands beside
every prediction. Takes about a minute.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hardware_profiles.errors import TweelingError
from hardware_profiles.whole_files import write_text_whole
from twin.fitting.ablation import ablations
from twin.fitting.document_text import validation_document
from twin.fitting.rows import fit_rows
from twin.fitting.server_errors import catalogued
from twin.predict import Predictor
from twin.similar_runs import SIMILAR_RUNS_FILE
from twin.validation.run_machines import RunMachines
from twin.validation.runs import validate_runs
from twin.validation.similar_cells import similar_cells, similar_text

TABLES = ("runs.csv", "runs_more.csv", "runs_vtrain_single_node.csv")
DOCUMENT = Path("docs/validation.md")
EXIT_BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Write document and table; exit 2 with one line for bad input."""
    parser = argparse.ArgumentParser(prog="python -m twin.fitting.document", description=__doc__)
    parser.add_argument("--from", dest="folder", type=Path, required=True, help="folder of tables")
    parser.add_argument("--out", type=Path, default=DOCUMENT, help="where the document goes")
    options = parser.parse_args(arguments)
    try:
        predictor = Predictor()
        reports = [validate_runs(options.folder / name, predictor=predictor) for name in TABLES]
        runs = [run for report in reports for run in report.runs]
        machines = RunMachines(predictor.catalogues.profiles)
        requests = [row.request for row in fit_rows(options.folder, machines)]
        similar = [
            run
            for name, report in zip(TABLES, reports, strict=True)
            for run in catalogued(report.runs, options.folder / name, predictor)
        ]
        text = validation_document(runs, ablations(requests, machines), similar)
        write_text_whole(options.out, text)
        write_text_whole(SIMILAR_RUNS_FILE, similar_text(similar_cells(similar)))
    except (OSError, TweelingError) as refusal:
        sys.stderr.write(f"twin.fitting.document: {refusal}\n")
        return EXIT_BAD_INPUT
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
