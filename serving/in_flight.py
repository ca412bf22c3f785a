"""Counts requests that are being answered and refuses those above a limit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from grpc import StatusCode

from serving.status import ServingError


class InFlight:
    """Counts requests that are being answered and refuses those above a limit.

    Args:
        limit: how many may be answered at a time.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self.count = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Counts one request until the block ends.

        Raises:
            ServingError: RESOURCE_EXHAUSTED: `limit` are being answered already.
        """
        with self._lock:
            if self.count >= self.limit:
                raise ServingError(
                    StatusCode.RESOURCE_EXHAUSTED, f"no more requests are taken: {self.limit} may be answered at a time. Try again later."
                )
            self.count += 1
        try:
            yield
        finally:
            with self._lock:
                self.count -= 1
