"""The gRPC service `aisle.similarity.v1.Similarity`."""

from __future__ import annotations

from typing import Any

from serving.grpc_calls import answered
from serving.request_watch import RequestWatch
from serving.similarity_server import similarity_pb2, similarity_pb2_grpc
from serving.similarity_server.answers import Answers
from serving.similarity_server.router import Router

SERVICE = similarity_pb2.DESCRIPTOR.services_by_name["Similarity"].full_name


class SimilarityService(similarity_pb2_grpc.SimilarityServicer):  # type: ignore[misc]
    """Search, BatchSearch, Upsert, Delete, Move, Find and Status; the last isn't bounded, so that a busy server can be looked at."""

    def __init__(self, answers: Answers | Router, watch: RequestWatch) -> None:
        self._answers, self._watch = answers, watch

    def Search(self, request: Any, context: Any) -> Any:
        """Answers with the products most similar to one query."""
        return self._answer("Search", context, lambda deadline_s: self._answers.search(request, deadline_s))

    def BatchSearch(self, request: Any, context: Any) -> Any:
        """Answers several queries from one version."""
        return self._answer("BatchSearch", context, lambda deadline_s: self._answers.batch_search(request, deadline_s))

    def Upsert(self, request: Any, context: Any) -> Any:
        """Puts products into the index."""
        return self._answer("Upsert", context, lambda deadline_s: self._answers.upsert(request, deadline_s))

    def Delete(self, request: Any, context: Any) -> Any:
        """Takes products out of the index."""
        return self._answer("Delete", context, lambda deadline_s: self._answers.delete(request, deadline_s))

    def Move(self, request: Any, context: Any) -> Any:
        """Puts products at another node."""
        return self._answer("Move", context, lambda deadline_s: self._answers.move(request, deadline_s))

    def Find(self, request: Any, context: Any) -> Any:
        """Answers with products as they are in the index."""
        return self._answer("Find", context, lambda deadline_s: self._answers.find(request, deadline_s))

    def Status(self, request: Any, context: Any) -> Any:
        """Answers with what is served now."""
        return self._answer("Status", context, lambda deadline_s: self._answers.status(request, deadline_s), is_bounded=False)

    def _answer(self, api: str, context: Any, work: Any, is_bounded: bool = True) -> Any:
        return answered(self._watch, {"api": api}, context, work, is_bounded)
