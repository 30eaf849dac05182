"""A click group that imports a verb only when it is called."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from dataclasses import dataclass

import click

__all__ = ["LazyGroup", "Verb"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One entry of the table of verbs."""

    name: str
    target: str
    """``module:attribute`` of a click command."""
    help: str
    """The line in ``twin --help``, which must not import the module to find it."""

    def load(self) -> click.Command:
        """Import the module and take the command from it."""
        module_name, _, attribute = self.target.partition(":")
        command = getattr(importlib.import_module(module_name), attribute)
        if not isinstance(command, click.Command):
            msg = f"{self.target} is not a click command"
            raise TypeError(msg)
        return command


class LazyGroup(click.Group):
    """The root command: a table of verbs, none of them imported before it is needed."""

    def __init__(self, *, verbs: Iterable[Verb], **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]  # click's own keywords, passed on
        self.verbs = {verb.name: verb for verb in verbs}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table, which is the order of use."""
        del ctx
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one verb."""
        del ctx
        verb = self.verbs.get(cmd_name)
        return None if verb is None else verb.load()

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest verb in the message."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in self.verbs:
            ctx.fail(self._unknown(name))
        return super().resolve_command(ctx, args)

    def _unknown(self, name: str) -> str:
        nearest = difflib.get_close_matches(name, self.verbs, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]}?" if nearest else "verbs are " + ", ".join(self.verbs)
        return f"no verb {name!r}; {hint}"

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs with the help of the table."""
        del ctx
        with formatter.section("Verbs"):
            formatter.write_dl([(verb.name, verb.help) for verb in self.verbs.values()])
