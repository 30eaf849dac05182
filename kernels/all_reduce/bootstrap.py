"""How ranks on one or more machines find each other: one TCP connection each to rank 0.

Rank 0 listens; every other rank connects, says who it is and gets the identifier that the
communication library needs. The connection stays open and serves as a barrier and to gather
numbers. Nothing but fixed-size headers and JSON crosses the wire, so that a stranger who connects
cannot make a rank run anything; but there is no secret either: bind to another address than
loopback only on a network that you trust.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self

from hardware_profiles.errors import TweelingError

__all__ = ["LOOPBACK", "BootstrapError", "Rendezvous", "World"]

LOOPBACK = "127.0.0.1"
GREETING = b"tweeling"
HEADER = struct.Struct("!8sII")
"""Greeting, rank and number of ranks."""
LENGTH = struct.Struct("!I")
LONGEST_MESSAGE_BYTES = 2**24
GREETING_S = 5.0
"""How long somebody who connects may keep the ranks waiting without a word. [s]"""
RETRY_S = 0.05
"""Pause between attempts to reach rank 0, which may start later. [s]"""


class BootstrapError(TweelingError):
    """Ranks cannot find each other, or one of them is gone."""


class World(NamedTuple):
    """A rank's place among all, and where rank 0 listens."""

    rank: int
    n_ranks: int
    host: str = LOOPBACK
    """Address that rank 0 binds to and the others connect to."""
    port: int = 29511
    time_limit_s: float = 60.0
    """How long to wait for another rank. [s]"""

    def check(self) -> None:
        """Refuse a place that cannot be.

        Raises
        ------
        BootstrapError
            When the rank is not below the number of ranks, or the port is none.
        """
        if not 0 <= self.rank < self.n_ranks:
            msg = f"rank {self.rank} of {self.n_ranks}; expected a rank from 0 to one below that"
            raise BootstrapError(msg)
        if not 0 < self.port < 2**16:
            msg = f"port {self.port}; expected 1 to {2**16 - 1}"
            raise BootstrapError(msg)


class Rendezvous:
    """The meeting of all ranks of a world; a context manager.

    Parameters
    ----------
    world
        This rank's place.
    make_identifier
        Called on rank 0 only: the bytes that every rank is to get, 128 of them for NCCL.
    listener
        Socket that rank 0 listens on already; made from the world's address by default.

    Raises
    ------
    BootstrapError
        In one line, when ranks do not come in time, come twice, or disagree about the world.
    """

    def __init__(
        self,
        world: World,
        make_identifier: Callable[[], bytes],
        *,
        listener: socket.socket | None = None,
    ) -> None:
        world.check()
        self.world = world
        self.rank = world.rank
        self.n_ranks = world.n_ranks
        self._peers: dict[int, socket.socket] = {}
        try:
            if world.rank == 0:
                self.identifier = make_identifier()
                self._welcome_all(listener)
            else:
                self._peers[0] = _reach(world)
                self.identifier = self._receive(0)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave; ranks that still wait for this one get an error instead of waiting."""
        for peer in self._peers.values():
            peer.close()
        self._peers.clear()

    def barrier(self) -> None:
        """Wait until every rank has come to this point."""
        self.gather([])

    def gather(self, numbers: list[float]) -> list[list[float]]:
        """Give every rank the numbers of all ranks.

        Parameters
        ----------
        numbers
            This rank's.

        Returns
        -------
        list
            By rank.
        """
        if self.world.rank != 0:
            self._send(0, json.dumps(numbers).encode())
            return _lists(self._receive(0))
        others = range(1, self.world.n_ranks)
        everything = [numbers, *(_numbers(self._receive(rank)) for rank in others)]
        for rank in others:
            self._send(rank, json.dumps(everything).encode())
        return everything

    def _welcome_all(self, given: socket.socket | None) -> None:
        world = self.world
        deadline_s = time.monotonic() + world.time_limit_s
        with given if given is not None else _listen(world) as listener:
            while len(self._peers) < world.n_ranks - 1:
                listener.settimeout(max(0.001, deadline_s - time.monotonic()))
                try:
                    peer, _ = listener.accept()
                except TimeoutError:
                    missing = sorted(set(range(1, world.n_ranks)) - set(self._peers))
                    msg = f"rank {missing[0]} of {world.n_ranks} did not come to {_place(world)}"
                    msg += f" in {world.time_limit_s:g} s"
                    raise BootstrapError(msg) from None
                self._welcome(peer)
        for rank in self._peers:
            self._send(rank, self.identifier)

    def _welcome(self, peer: socket.socket) -> None:
        world = self.world
        peer.settimeout(min(GREETING_S, world.time_limit_s))
        try:
            greeting, rank, n_ranks = HEADER.unpack(_read(peer, HEADER.size))
        except (OSError, EOFError):
            peer.close()
            return
        if greeting != GREETING:
            peer.close()  # someone else's connection: not a reason to give up on the ranks
            return
        peer.settimeout(world.time_limit_s)
        self._peers.setdefault(rank, peer)
        if n_ranks != world.n_ranks or not 0 < rank < n_ranks or self._peers[rank] is not peer:
            peer.close()
            msg = f"{_place(world)}: rank {rank} of {n_ranks} came"
            msg += f"; expected each of ranks 1 to {world.n_ranks - 1} of {world.n_ranks} once"
            raise BootstrapError(msg)

    def _send(self, rank: int, message: bytes) -> None:
        try:
            self._peers[rank].sendall(LENGTH.pack(len(message)) + message)
        except (OSError, KeyError):
            raise self._gone(rank) from None

    def _receive(self, rank: int) -> bytes:
        try:
            (length,) = LENGTH.unpack(_read(self._peers[rank], LENGTH.size))
            if length <= LONGEST_MESSAGE_BYTES:
                return _read(self._peers[rank], length)
        except (OSError, EOFError, KeyError):
            raise self._gone(rank) from None
        msg = f"rank {rank} announces {length} bytes; at most {LONGEST_MESSAGE_BYTES}"
        raise BootstrapError(msg)

    def _gone(self, rank: int) -> BootstrapError:
        msg = f"rank {rank} of {self.world.n_ranks} is gone, or silent for"
        return BootstrapError(f"{msg} {self.world.time_limit_s:g} s")


def _listen(world: World) -> socket.socket:
    try:
        return socket.create_server((world.host, world.port), backlog=world.n_ranks)
    except OSError as error:
        msg = f"rank 0 cannot listen on {_place(world)}: {error.strerror}"
        raise BootstrapError(msg) from None


def _reach(world: World) -> socket.socket:
    """Connect to rank 0, which may not listen yet."""
    deadline_s = time.monotonic() + world.time_limit_s
    while True:
        left_s = deadline_s - time.monotonic()
        with contextlib.suppress(OSError):
            peer = socket.create_connection((world.host, world.port), timeout=max(0.001, left_s))
            peer.settimeout(world.time_limit_s)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.sendall(HEADER.pack(GREETING, world.rank, world.n_ranks))
            return peer
        if left_s <= 0:
            msg = f"rank {world.rank} cannot reach rank 0 on {_place(world)}"
            msg += f" in {world.time_limit_s:g} s"
            raise BootstrapError(msg)
        time.sleep(RETRY_S)


def _place(world: World) -> str:
    return f"{world.host}:{world.port}"


def _read(peer: socket.socket, length: int) -> bytes:
    """Exactly so many bytes; EOFError when the other side has left."""
    parts = []
    while length:
        part = peer.recv(min(length, 2**16))
        if not part:
            raise EOFError
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _numbers(message: bytes) -> list[float]:
    """Numbers of one rank, checked since anybody could have sent them."""
    try:
        numbers = json.loads(message)
    except ValueError:
        numbers = None
    if isinstance(numbers, list) and all(isinstance(n, int | float) for n in numbers):
        return numbers
    msg = "a rank sent something else than a list of numbers"
    raise BootstrapError(msg)


def _lists(message: bytes) -> list[list[float]]:
    try:
        lists = json.loads(message)
    except ValueError:
        lists = None
    if isinstance(lists, list):
        return [_numbers(json.dumps(numbers).encode()) for numbers in lists]
    msg = "rank 0 sent something else than lists of numbers"
    raise BootstrapError(msg)
