"""The gRPC and the REST port of one server: their addresses, one start and one graceful stop."""

from __future__ import annotations

import threading
from collections.abc import Callable

from serving.addresses import bracketed
from serving.grpc_calls import GrpcPort
from serving.http_port import HttpPort


class Ports:
    """Both ports of a server, known from the start.

    Args:
        open_grpc: takes that of gRPC.
        rest: of REST, taken already; it is given back where that of gRPC can't be taken.
        host: both listen on.
        is_secure: whether they speak TLS.
    """

    def __init__(self, open_grpc: Callable[[], GrpcPort], rest: HttpPort, host: str, is_secure: bool) -> None:
        try:
            self._grpc, self._rest = open_grpc(), rest
        except BaseException:
            rest.stop(0)
            raise
        self.grpc_address = f"{bracketed(host)}:{self._grpc.port}"
        self.rest_address = f"{'https' if is_secure else 'http'}://{bracketed(host)}:{rest.port}"

    def start(self) -> None:
        """Answers from now on."""
        self._grpc.start()
        self._rest.start()

    def stop(self, grace_s: float) -> None:
        """Takes no new requests, and gives those that are being answered time to end."""
        rest = threading.Thread(target=self._rest.stop, args=(grace_s,), name="stop-rest")
        rest.start()  # Both at once: the time to end is one time, whichever protocol asks.
        self._grpc.stop(grace_s)
        rest.join()
