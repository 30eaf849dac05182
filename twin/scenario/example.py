"""The ready example: what the terminal UI opens on and `make run` prints."""

from __future__ import annotations

from twin.scenario.scenario import Scenario

__all__ = ["example_scenario"]


def example_scenario() -> Scenario:
    """A 70B model on the proposed machine in Groningen, plan left to the twin."""
    return Scenario(
        cluster="ai-factory-groningen",
        devices=1024,
        model="llama-3-70b",
        seq_len=8192,
        global_batch=2048,
    )
