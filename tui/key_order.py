"""Keys in their order: a key is looked at when the one before it has been acted on.

Textual sends a key to the widget in focus; what the widget does not take goes from parent to parent
until it comes back to the app, and only then its binding acts. A key that moves the focus is thus
followed by others that are under way to where the focus was, and those are lost: of ``/gemm`` typed
at once nothing reached the filter. Here every key is followed by a message on the same path, whose
return says that the key has been acted on, and keys that come in between wait.
"""

from __future__ import annotations

from collections import deque

from textual import events
from textual.app import App
from textual.message import Message
from textual.message_pump import MessagePump
from textual.timer import Timer
from textual.widgets import Input

__all__ = ["KeyDone", "OrderedKeysApp"]

PATIENCE_S = 0.25
"""After so long a key is taken as acted on: its widget went away with what followed it. [s]"""


class KeyDone(Message):
    """Follows a key from the widget in focus to the app."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class OrderedKeysApp(App[None]):
    """An app whose keys act one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[events.Key] = deque()
        """Keys that came while another one was under way."""
        self._n_sent = 0
        self._is_under_way = False
        self._patience: Timer | None = None

    async def on_event(self, event: events.Event) -> None:
        """Hold back a key while the one before it is under way."""
        if not isinstance(event, events.Key) or event.is_forwarded:
            await super().on_event(event)
        elif self._is_under_way:
            self._waiting.append(event)
        else:
            await self._act_on(event)

    async def _act_on(self, key: events.Key) -> None:
        await super().on_event(key)
        target: MessagePump = self.focused or self.screen
        # A binding with priority has acted at once and sent the key nowhere; a line that is typed
        # takes its letters in the order in which they come.
        if not key.is_forwarded or (isinstance(target, Input) and key.is_printable):
            return
        self._n_sent += 1
        self._is_under_way = target.post_message(KeyDone(self._n_sent))
        if self._is_under_way:
            number = self._n_sent
            self._patience = self.set_timer(PATIENCE_S, lambda: self._done(number))

    async def on_key_done(self, message: KeyDone) -> None:
        """The key has been acted on."""
        message.stop()
        await self._done(message.number)

    async def _done(self, number: int) -> None:
        """Go on with what waits; a key that was given up earlier changes nothing."""
        if number != self._n_sent or not self._is_under_way:
            return
        if self._patience is not None:
            self._patience.stop()
        self._is_under_way = False
        while self._waiting and not self._is_under_way and self.screen_stack:
            await self._act_on(self._waiting.popleft())
