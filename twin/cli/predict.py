"""The verb ``twin predict``: one training configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from twin.cli.output import current_command, emit_json
from twin.cli.scenario_options import takes_scenario
from twin.scenario.scenario import Scenario

if TYPE_CHECKING:
    from twin.prediction import Prediction

__all__ = ["predict", "prediction_payload"]

EXIT_FITS = 0
EXIT_DOES_NOT_FIT = 1

RUN_KEYS = ("run_time_s", "run_energy_j", "run_cost_eur")
HEADER_FIELDS = ("profile_hashes",)


@click.command()
@takes_scenario
def predict(*, scenario: Scenario, profile_dirs: tuple[Path, ...], as_json: bool) -> int:
    """Speed, memory, power and energy of one training configuration.

    What the plan leaves open is chosen: every plan that is possible for these devices is
    predicted, and the fastest that fits is taken. Exit code 1 says that it does not fit.
    """
    from twin.predict import Predictor

    prediction = Predictor(profile_dirs).predict(scenario)
    if as_json:
        emit_json(
            prediction_payload(prediction),
            command=current_command(),
            profile_hashes=prediction.profile_hashes,
        )
    else:
        from twin.cli.predict_text import predict_lines

        click.echo("\n".join(predict_lines(prediction, command=current_command())))
    return EXIT_FITS if prediction.fits_memory else EXIT_DOES_NOT_FIT


def prediction_payload(prediction: Prediction) -> dict[str, object]:
    """Keys of the JSON in the order of the prediction's fields.

    The keys of a whole run stand there only when a number of tokens was asked for; the price is
    None until one is known.
    """
    has_run = prediction.scenario.tokens is not None
    return {
        name: getattr(prediction, name)
        for name in prediction.__dataclass_fields__
        if name not in HEADER_FIELDS and (has_run or name not in RUN_KEYS)
    }
