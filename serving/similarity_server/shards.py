"""The shards behind a router: asks several of them at a time, and knows which of them holds which node."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import grpc
from grpc import StatusCode

from serving.similarity_server import similarity_pb2 as messages
from serving.similarity_server.similarity_pb2_grpc import SimilarityStub
from serving.status import ServingError

_AGAIN_S = 1.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Placement:
    """Which shard holds which node.

    Attributes:
        by_node: number of the shard by node id; that of products at no node by an empty one, where a shard holds them.
        num_nodes: of the taxonomy.
        version: that all shards have; 0 where they have several.
        looked_s: when the shards were asked, by the monotonic clock.
    """

    by_node: Mapping[str, int]
    num_nodes: int
    version: int
    looked_s: float


class Shards:
    """Connections to shards. Any thread may ask.

    Args:
        addresses: of their gRPC ports; each may be that of several replicas.
        timeout_s: to wait for an answer where a client doesn't say.
        max_bytes: of one message.
        credentials: for TLS; None: plain.
    """

    def __init__(self, addresses: Sequence[str], timeout_s: float, max_bytes: int, credentials: Any = None) -> None:
        self._addresses, self._timeout_s = list(addresses), timeout_s
        options = [("grpc.max_receive_message_length", max_bytes), ("grpc.max_send_message_length", -1)]
        self._channels = [
            grpc.secure_channel(address, credentials, options) if credentials else grpc.insecure_channel(address, options)
            for address in addresses
        ]
        self._stubs = [SimilarityStub(channel) for channel in self._channels]
        self._lock, self._is_asking = threading.Lock(), threading.Lock()
        self._placement: Placement | None = None

    def __len__(self) -> int:
        return len(self._stubs)

    def close(self) -> None:
        """Closes the connections."""
        for channel in self._channels:
            channel.close()

    def ask(self, method: str, requests: Mapping[int, Any], deadline_s: float | None) -> dict[int, Any]:
        """Returns the answers to one request for each of some shards, all asked at the same time.

        Raises:
            ServingError: what the first of those that refuse says, or DEADLINE_EXCEEDED.
        """
        left_s = self._timeout_s if deadline_s is None else min(self._timeout_s, deadline_s - time.monotonic())
        if left_s <= 0:
            raise ServingError(StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the shards were asked.")
        calls = {number: getattr(self._stubs[number], method).future(request, timeout=left_s) for number, request in requests.items()}
        found, errors = {}, []
        for number, call in calls.items():
            try:
                found[number] = call.result()
            except grpc.RpcError as error:
                errors.append(self._refusal(number, error))
        if errors:
            raise errors[0]
        for answer in found.values():
            self._heed(answer)
        return found

    def _heed(self, answer: Any) -> None:
        """Has the shards asked anew, behind the back of requests, where an answer is of a version whose taxonomy may have moved nodes."""
        known = self._placement
        version = answer.responses[0].version if isinstance(answer, messages.BatchSearchResponse) else answer.version
        if known is None or known.version == version or time.monotonic() < known.looked_s + _AGAIN_S:
            return
        if self._is_asking.acquire(blocking=False):
            threading.Thread(target=self._place_again, name="placement", daemon=True).start()

    def _place_again(self) -> None:
        try:
            with self._lock:
                self._placement = self._placed(None)
        except (ServingError, ValueError) as error:  # While they are swapped, a node may be in two, or in none; or all is closed by now.
            log.warning("placement kept reason=%s", error)
            with self._lock:
                self._placement = replace(self._placement, looked_s=time.monotonic()) if self._placement else None
        finally:
            self._is_asking.release()

    def ask_all(self, method: str, request: Any, deadline_s: float | None) -> dict[int, Any]:
        """Returns the answers of every shard to the same request."""
        return self.ask(method, dict.fromkeys(range(len(self)), request), deadline_s)

    def _refusal(self, number: int, error: Any) -> ServingError:
        code, said = error.code(), " ".join(str(error.details()).split())
        if code in (StatusCode.UNAVAILABLE, StatusCode.CANCELLED):
            return ServingError(StatusCode.UNAVAILABLE, f"shard {self._addresses[number]} can't be asked: {said[:200]}. Try again later.")
        return ServingError(code, said)

    def placement(self, unknown: str | None = None, deadline_s: float | None = None) -> Placement:
        """Returns which shard holds which node; asks them anew about an unknown one, though not every moment.

        Raises:
            ServingError: FAILED_PRECONDITION: a node is in two shards or in none; or as `ask`.
        """
        known = self._placement
        if known is not None and not _is_to_ask(known, unknown):
            return known  # Whoever asks for what is known never waits for a shard that doesn't answer.
        with self._lock:
            known = self._placement
            if known is None or _is_to_ask(known, unknown):
                known = self._placement = self._placed(deadline_s)
            return known

    def place_anew(self, known: Placement, deadline_s: float | None) -> None:
        """Asks which shard holds which node, unless that is known better than this by now.

        Raises:
            ServingError: FAILED_PRECONDITION: a node is in two shards or in none; or as `ask`.
        """
        with self._lock:
            if self._placement is None or self._placement.by_node is known.by_node:
                self._placement = self._placed(deadline_s)

    def _placed(self, deadline_s: float | None) -> Placement:
        found = self.ask_all("Status", messages.StatusRequest(with_nodes=True), deadline_s)
        by_node: dict[str, int] = {}
        for number, status in found.items():
            for node_id in status.nodes:
                if by_node.setdefault(node_id, number) != number:
                    one, other = self._addresses[by_node[node_id]], self._addresses[number]
                    raise _wrong(f"node {node_id!r} is in the shards {one} and {other}. Give it to one.")
        num_nodes = max(status.num_nodes for status in found.values())
        if len(by_node.keys() - {""}) < num_nodes:
            raise _wrong(
                f"the shards hold {len(by_node.keys() - {''})} of the taxonomy's {num_nodes} nodes. Start one for the others, too."
            )
        versions = {status.version for status in found.values()}
        return Placement(by_node, num_nodes, versions.pop() if len(versions) == 1 else 0, time.monotonic())


def _is_to_ask(known: Placement, unknown: str | None) -> bool:
    return unknown is not None and time.monotonic() > known.looked_s + _AGAIN_S


def _wrong(message: str) -> ServingError:
    return ServingError(StatusCode.FAILED_PRECONDITION, message)
