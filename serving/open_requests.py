"""Knows the REST requests that are open, from their headers to the end of their answer, and bounds the memory they hold."""

from __future__ import annotations

import asyncio
from typing import Protocol

from grpc import StatusCode

from serving.status import ServingError


class OpenRequest(Protocol):
    """A request that can be refused before it is answered."""

    def refuse(self, error: ServingError) -> None:
        """Answers it with an error; one that has its answer keeps it."""


class OpenRequests:
    """The open requests of one port. All of it belongs to the thread of the port's event loop.

    Args:
        max_bytes: that bodies, and answers which their clients haven't read yet, may hold together.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.num_bytes = max_bytes, 0
        self._open: set[OpenRequest] = set()
        self._is_idle = asyncio.Event()
        self._is_stopping = False

    def add(self, request: OpenRequest) -> None:
        """Takes note of a request, and refuses it where the server is shutting down."""
        self._open.add(request)
        self._is_idle.clear()
        if self._is_stopping:
            request.refuse(_shutting_down())

    def remove(self, request: OpenRequest) -> None:
        """Forgets a request that is over."""
        self._open.discard(request)
        if not self._open:
            self._is_idle.set()

    def take(self, num_bytes: int) -> None:
        """Counts bytes of a body.

        Raises:
            ServingError: RESOURCE_EXHAUSTED: there is no room for them.
        """
        if self.num_bytes + num_bytes > self.max_bytes:
            raise ServingError(
                StatusCode.RESOURCE_EXHAUSTED,
                f"open requests hold {self.num_bytes} bytes, together they may hold {self.max_bytes}. Try again later.",
            )
        self.num_bytes += num_bytes

    def hold(self, num_bytes: int) -> None:
        """Counts bytes that are there already, those of an answer: they leave less room for bodies."""
        self.num_bytes += num_bytes

    def give_back(self, num_bytes: int) -> None:
        """Counts bytes no more."""
        self.num_bytes -= num_bytes

    async def end(self, grace_s: float, linger_s: float) -> None:
        """Gives open requests time to end, then refuses those that are left; new ones are refused at once.

        Args:
            grace_s: for requests to be sent and answered.
            linger_s: for clients to read that they were refused.
        """
        self._is_stopping = True
        if not await self._idle(grace_s):
            for request in list(self._open):
                request.refuse(_shutting_down())
            await self._idle(linger_s)

    async def _idle(self, timeout_s: float) -> bool:
        if self._open:
            try:
                await asyncio.wait_for(self._is_idle.wait(), timeout_s)
            except asyncio.TimeoutError:
                return False
        return True


def _shutting_down() -> ServingError:
    return ServingError(StatusCode.UNAVAILABLE, "the server is shutting down. Ask another one, or try again later.")
