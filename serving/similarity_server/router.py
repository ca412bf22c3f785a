"""Answers like one server in front of several shards: searches those that hold a category, and merges what they find."""

from __future__ import annotations

import contextlib
import heapq
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from grpc import StatusCode

from serving.similarity_server import similarity_pb2 as messages
from serving.similarity_server.answers import ELSEWHERE, Bounds, checked_k
from serving.similarity_server.shards import Placement, Shards
from serving.status import ServingError, invalid

_ATTEMPTS, _PAUSE_S = 3, 0.05
_Result = TypeVar("_Result")


class _MixedVersionsError(ServingError):
    """Shards answered from different versions, as they do for a moment while they are swapped."""

    def __init__(self, versions: Iterable[int]) -> None:
        told = " and ".join(map(str, sorted(set(versions))))
        super().__init__(StatusCode.ABORTED, f"the shards answer with the versions {told}. Try again when all have the same one.")


class Router:
    """The methods of the service on messages, answered by shards.

    A search of a category goes to the shard that holds it, one of everything to all. Answers of different versions are never put
    together. A change is all or none in each shard; where one fails, sending the same again does the rest.

    Args:
        shards: that are asked.
        bounds: what one request may ask for.

    Raises:
        ServingError: a shard can't be asked, or nodes are in two of them or in none.
    """

    def __init__(self, shards: Shards, bounds: Bounds) -> None:
        self._shards, self._bounds = shards, bounds
        shards.placement()

    def search(self, request: Any, deadline_s: float | None) -> Any:
        """Answers `Search`."""
        checked_k(request, self._bounds)
        return self._passed_on(request, deadline_s) or self._of_one_version(lambda: self._searched([request], deadline_s))[0]

    def batch_search(self, request: Any, deadline_s: float | None) -> Any:
        """Answers `BatchSearch`."""
        _check_count("requests", len(request.requests), self._bounds.max_queries)
        return messages.BatchSearchResponse(responses=self._of_one_version(lambda: self._searched(request.requests, deadline_s)))

    def upsert(self, request: Any, deadline_s: float | None) -> Any:
        """Answers `Upsert`."""
        _check_count("products", len(request.products), self._bounds.max_changes)
        return self._where_held(lambda: self._upserted(request, deadline_s), deadline_s)

    def _upserted(self, request: Any, deadline_s: float | None) -> Any:
        parts: dict[int, Any] = {}
        new: dict[str, int] = {}
        for product in request.products:
            number = self._shard_of(product.node_id, deadline_s)
            parts.setdefault(number, messages.UpsertRequest(model_version=request.model_version)).products.append(product)
            new[product.product_id] = number  # Of a product that is there twice the last counts, as in one server.
        found = self._shards.ask("Upsert", parts, deadline_s)
        self._delete_elsewhere(new, deadline_s, with_lists=True)
        return _changed(found.values())

    def delete(self, request: Any, deadline_s: float | None) -> Any:
        """Answers `Delete`."""
        _check_count("product_ids", len(request.product_ids), self._bounds.max_changes)
        return _changed(self._shards.ask_all("Delete", request, deadline_s).values())

    def move(self, request: Any, deadline_s: float | None) -> Any:
        """Answers `Move`. A product that changes its shard is there in the new one before it is gone from the old one."""
        _check_count("products", len(request.products), self._bounds.max_changes)
        return self._where_held(lambda: self._moved(request, deadline_s), deadline_s)

    def _moved(self, request: Any, deadline_s: float | None) -> Any:
        targets = {moved.product_id: (moved.node_id, self._shard_of(moved.node_id, deadline_s)) for moved in request.products}
        owners = self._found(list(targets), deadline_s)
        moves: dict[int, Any] = {}
        upserts: dict[int, Any] = {}
        for product_id, (node_id, target) in targets.items():
            if product_id not in owners or owners[product_id][0] == target:  # Where nobody knows it, the target refuses what is wrong.
                moves.setdefault(target, messages.MoveRequest()).products.add(product_id=product_id, node_id=node_id)
                continue
            _, product, version = owners[product_id]
            product.node_id = node_id
            upserts.setdefault(target, messages.UpsertRequest(model_version=version)).products.append(product)
        found = [*self._shards.ask("Upsert", upserts, deadline_s).values(), *self._shards.ask("Move", moves, deadline_s).values()]
        self._delete_elsewhere({product_id: target for product_id, (_, target) in targets.items() if product_id in owners}, deadline_s)
        return _changed(found)

    def find(self, request: Any, deadline_s: float | None) -> Any:
        """Answers `Find`."""
        _check_count("product_ids", len(request.product_ids), self._bounds.max_changes)
        found = self._of_one_version(lambda: self._found(request.product_ids, deadline_s))
        versions = {version for _, _, version in found.values()}
        products = [found[product_id][1] for product_id in request.product_ids if product_id in found]
        return messages.FindResponse(products=products, version=max(versions, default=0))

    def status(self, request: Any, deadline_s: float | None) -> Any:
        """Answers `Status`: sums and, of the versions, the lowest; whatever failed last in a shard."""
        found = list(self._shards.ask_all("Status", request, deadline_s).values())
        versions, first = {one.version for one in found}, found[0]
        sums = ("num_products", "num_recent", "num_gone", "log_bytes", "num_to_embed")
        mixed = f"the shards have the versions {', '.join(map(str, sorted(versions)))}" if len(versions) > 1 else ""
        return messages.StatusResponse(
            version=min(versions),
            pushed_version=max(one.pushed_version for one in found),
            model_name=first.model_name,
            kind=" and ".join(sorted({one.kind for one in found})),
            storage=first.storage,
            dimension=first.dimension,
            recall=min(one.recall for one in found),
            compacting=any(one.compacting for one in found),
            last_error=next((one.last_error for one in found if one.last_error), mixed),
            to_embed=[product_id for one in found for product_id in one.to_embed],
            nodes=[node_id for one in found for node_id in one.nodes],
            num_nodes=first.num_nodes,
            **{name: sum(getattr(one, name) for one in found) for name in sums},
        )

    def _of_one_version(self, work: Callable[[], _Result]) -> _Result:
        for _ in range(_ATTEMPTS - 1):
            with contextlib.suppress(_MixedVersionsError):
                return work()
            time.sleep(_PAUSE_S)
        return work()

    def _where_held(self, change: Callable[[], _Result], deadline_s: float | None) -> _Result:
        """Returns what a change makes; one that a shard refuses, since a push took its node away, is made once more, where that is now."""
        known = self._shards.placement(deadline_s=deadline_s)
        try:
            return change()
        except ServingError as error:
            if not _is_elsewhere(error):
                raise
        self._place_anew(known, deadline_s)
        try:
            # Shards that took their part at first take it again. Upserts and moves come to the same however often they are made, and while
            # the request isn't answered, changes of others may be before or after it.
            return change()
        except ServingError as error:
            raise (_moving() if _is_elsewhere(error) else error) from None

    def _place_anew(self, known: Placement, deadline_s: float | None) -> None:
        try:
            self._shards.place_anew(known, deadline_s)
        except ServingError as error:
            raise (_moving() if error.code == StatusCode.FAILED_PRECONDITION else error) from None

    def _shard_of(self, node_id: str, deadline_s: float | None) -> int:
        number = self._shards.placement(deadline_s=deadline_s).by_node.get(node_id)
        if number is None:
            placement = self._shards.placement(node_id, deadline_s)
            number = placement.by_node.get(node_id)
        if number is None and not node_id:
            raise invalid("no shard holds products that are at no node. Name one, or start a shard with --shard-rest.")
        if number is None:
            raise invalid(f"node {node_id[:200]!r} isn't in the index's taxonomy of {placement.num_nodes} nodes. Use one of its ids.")
        return number

    def _passed_on(self, request: Any, deadline_s: float | None) -> Any:
        """Returns what the shard of a category answers by itself; None where it can't, since the product is in another or none is named."""
        if not request.node_id:
            return None
        number = self._shard_of(request.node_id, deadline_s)
        try:
            response = self._shards.ask("Search", {number: request}, deadline_s)[number]
        except ServingError as error:
            if error.code == StatusCode.NOT_FOUND:
                return None
            raise
        response.sequence = 0
        return response

    def _found(self, product_ids: Sequence[str], deadline_s: float | None) -> dict[str, tuple[int, Any, int]]:
        """Returns shard, product and version of those products that are there."""
        if not product_ids:
            return {}
        answers = self._shards.ask_all("Find", messages.FindRequest(product_ids=dict.fromkeys(product_ids)), deadline_s)
        _check_versions(answer.version for answer in answers.values() if answer.products)
        return {product.product_id: (number, product, answer.version) for number, answer in answers.items() for product in answer.products}

    def _delete_elsewhere(self, kept: Mapping[str, int], deadline_s: float | None, with_lists: bool = False) -> None:
        """Deletes products in all shards but the one that each is kept in; only where they are, so that no log grows for nothing.

        With lists, also from those of products to embed again: they got new vectors. What is moved only did not.
        """
        parts: dict[int, Any] = {}
        request = messages.FindRequest(product_ids=kept)
        for number, answer in self._shards.ask_all("Find", request, deadline_s).items() if kept else ():
            listed = answer.to_embed if with_lists else ()
            known = dict.fromkeys([*(product.product_id for product in answer.products), *listed])
            twins = [product_id for product_id in known if kept[product_id] != number]
            if twins:
                parts[number] = messages.DeleteRequest(product_ids=twins)
        self._shards.ask("Delete", parts, deadline_s)

    def _searched(self, requests: Sequence[Any], deadline_s: float | None) -> list[Any]:
        counts = [checked_k(request, self._bounds) for request in requests]
        owners = self._found([one.product_id for one in requests if one.WhichOneof("query") == "product_id"], deadline_s)
        parts: dict[int, Any] = {}
        places: dict[int, list[int]] = {}
        for place, request in enumerate(requests):
            for number in self._targets(request, deadline_s):
                parts.setdefault(number, messages.BatchSearchRequest()).requests.append(_query_for(request, number, owners))
                places.setdefault(number, []).append(place)
        answers = self._shards.ask("BatchSearch", parts, deadline_s)
        found: list[list[Any]] = [[] for _ in requests]
        for number in sorted(answers):
            for place, response in zip(places[number], answers[number].responses, strict=True):
                found[place].append(response)
        _check_versions([one.version for some in found for one in some] + [version for _, _, version in owners.values()])
        return [_merged(some, k, _but(request)) for some, k, request in zip(found, counts, requests, strict=True)]

    def _targets(self, request: Any, deadline_s: float | None) -> Iterable[int]:
        return [self._shard_of(request.node_id, deadline_s)] if request.node_id else range(len(self._shards))


def _is_elsewhere(error: ServingError) -> bool:
    return error.code == StatusCode.INVALID_ARGUMENT and str(error).endswith(ELSEWHERE)


def _moving() -> ServingError:
    return ServingError(StatusCode.ABORTED, "a push is moving nodes to other shards. Try again when all shards have its version.")


def _but(request: Any) -> str:
    return str(request.product_id) if request.WhichOneof("query") == "product_id" else ""


def _query_for(request: Any, number: int, owners: Mapping[str, tuple[int, Any, int]]) -> Any:
    """Returns a query as one shard can answer it: only the one that holds a product knows its vector."""
    query = messages.SearchRequest()
    query.CopyFrom(request)
    if request.WhichOneof("query") != "product_id":
        return query
    if request.product_id not in owners:
        raise ServingError(
            StatusCode.NOT_FOUND,
            f"product {request.product_id[:200]!r} isn't in the index. Ask with its fields or vector, or upsert it first.",
        )
    owner, product, version = owners[request.product_id]
    if owner != number:
        query.vector.CopyFrom(product.vector)
        query.model_version = request.model_version or version
    return query


def _merged(responses: Sequence[Any], k: int, but: str) -> Any:
    """Returns the best of several answers. A product that is on its way from one shard to another may be in both."""
    best: dict[str, Any] = {}
    for one in (one for response in responses for one in response.neighbours if one.product_id != but):
        if one.product_id not in best or one.similarity > best[one.product_id].similarity:
            best[one.product_id] = one
    neighbours = heapq.nlargest(k, best.values(), key=lambda one: one.similarity)
    plans = dict.fromkeys(response.plan for response in responses)
    return messages.SearchResponse(neighbours=neighbours, version=responses[0].version, plan="; ".join(plans))


def _changed(responses: Iterable[Any]) -> Any:
    return messages.ChangeResponse(version=min((response.version for response in responses), default=0))


def _check_versions(versions: Iterable[int]) -> None:
    found = set(versions)
    if len(found) > 1:
        raise _MixedVersionsError(found)


def _check_count(what: str, found: int, limit: int) -> None:
    if not 1 <= found <= limit:
        raise invalid(f"{what}: found {found}, expected 1 to {limit}. Send them in parts.")
