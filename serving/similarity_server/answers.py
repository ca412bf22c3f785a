"""What the server answers, whichever protocol asks: neighbours, changes and what it serves, each from one version of model and index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from grpc import StatusCode

from schemas.errors import IndexSwappedError, IndexWriteError, NeighbourIndexError
from schemas.product import FIELDS
from schemas.settings import SimilarSettings
from serving.similarity_server import similarity_pb2 as messages
from serving.similarity_server.followed_index import FollowedIndex
from serving.similarity_server.model_client import MissingVersionError, ModelClient
from serving.similarity_server.product_examples import check_fields, is_picture_alone, serialized_example
from serving.status import ServingError, invalid
from similarity.changes import Delete, Move, Upsert
from similarity.live_moment import LiveAnswer
from similarity.product_columns import TEXT_COLUMNS, ProductFilter

DEFAULT_K = 10
ELSEWHERE = "this is for another shard. Send it to the router."
_ATTEMPTS = 3
_PRICE = "price"
_Result = TypeVar("_Result")
_Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Bounds:
    """What one request may ask for.

    Attributes:
        max_k: neighbours of one query.
        max_queries: of one batch.
        max_changes: of one request.
        max_embedded: products of one request that the model has to embed.
    """

    max_k: int = SimilarSettings.max_k
    max_queries: int = 256
    max_changes: int = 1_000
    max_embedded: int = 256


@dataclass(frozen=True)
class _Query:
    """A query whose vector is known.

    Attributes:
        vector: float32 `[dimension]`.
        but: product that mustn't be among its neighbours; empty: none.
        group: k, node and filter; queries that share them are searched together.
    """

    vector: _Vector
    but: str
    group: tuple[int, str, ProductFilter]


def checked_k(request: Any, bounds: Bounds) -> int:
    """Returns how many neighbours a query asks for.

    Raises:
        ServingError: INVALID_ARGUMENT: more than is allowed, or fewer than one.
    """
    k = int(request.k) or DEFAULT_K
    if not 1 <= k <= bounds.max_k:
        raise invalid(f"k is {k}, expected 1 to {bounds.max_k}.")
    return k


class Answers:
    """The methods of the service on messages.

    Where the index is swapped for another version half-way, what was done with the old one is done again: nobody gets an answer
    whose vector and neighbours come from two versions.

    Args:
        index: that is searched and changed.
        model: embeds new products; None: they are refused.
        bounds: see there.
    """

    def __init__(self, index: FollowedIndex, model: ModelClient | None, bounds: Bounds) -> None:
        self._index, self._model, self._bounds = index, model, bounds

    def search(self, request: Any, deadline_s: float | None) -> Any:
        """Answers `Search`."""
        return self._of_one_version(lambda version: self._searched([request], version, deadline_s))[0]

    def batch_search(self, request: Any, deadline_s: float | None) -> Any:
        """Answers `BatchSearch`."""
        found = len(request.requests)
        if not 1 <= found <= self._bounds.max_queries:
            raise invalid(f"requests: found {found}, expected 1 to {self._bounds.max_queries}. Send them in parts.")
        responses = self._of_one_version(lambda version: self._searched(request.requests, version, deadline_s))
        return messages.BatchSearchResponse(responses=responses)

    def upsert(self, request: Any, deadline_s: float | None) -> Any:
        """Answers `Upsert`."""
        self._check_changes("products", len(request.products))
        self._check_held([product.node_id for product in request.products])
        return self._of_one_version(lambda version: self._applied(self._upserts(request, version, deadline_s), version))

    def delete(self, request: Any, deadline_s: float | None) -> Any:
        """Answers `Delete`."""
        self._check_changes("product_ids", len(request.product_ids))
        changes = [Delete(product_id) for product_id in request.product_ids]
        return self._of_one_version(lambda version: self._applied(changes, version))

    def move(self, request: Any, deadline_s: float | None) -> Any:
        """Answers `Move`."""
        self._check_changes("products", len(request.products))
        self._check_held([moved.node_id for moved in request.products])
        changes = [Move(moved.product_id, moved.node_id) for moved in request.products]
        return self._of_one_version(lambda version: self._applied(changes, version))

    def find(self, request: Any, deadline_s: float | None) -> Any:
        """Answers `Find`."""
        self._check_changes("product_ids", len(request.product_ids))
        return self._of_one_version(lambda version: self._found(request.product_ids, version))

    def status(self, request: Any, deadline_s: float | None) -> Any:
        """Answers `Status`."""
        found, index = self._index.live.status(), self._index
        nodes = index.nodes() if request.with_nodes else []
        return messages.StatusResponse(
            version=found.manifest.version,
            pushed_version=index.pushed.version if index.pushed else found.manifest.version,
            model_name=index.pushed.name if index.pushed else "",
            kind=found.manifest.kind,
            storage=found.manifest.storage,
            dimension=found.manifest.dimension,
            num_products=found.num_products,
            recall=found.manifest.recall,
            sequence=found.sequence,
            num_recent=found.num_recent,
            num_gone=found.num_gone,
            log_bytes=found.log_bytes,
            compacting=found.compacting,
            last_error=index.last_error or found.last_error,
            to_embed=found.to_embed,
            num_to_embed=found.num_to_embed,
            nodes=nodes,
            num_nodes=len(index.live.node_ids) if request.with_nodes else 0,
        )

    def _of_one_version(self, work: Callable[[int], _Result]) -> _Result:
        """Returns what `work` makes with the version that is there from its start to its end."""
        for _ in range(_ATTEMPTS):
            version = self._index.live.version
            try:
                return work(version)
            except IndexSwappedError:
                continue
            except MissingVersionError:
                self._index.refresh()  # The model server may be ahead by the moment that this one needs to notice a push.
                if self._index.live.version == version:
                    raise
            except IndexWriteError as error:
                raise ServingError(StatusCode.UNAVAILABLE, str(error)) from error
            except NeighbourIndexError as error:
                if self._index.live.version == version:
                    raise invalid(str(error)) from error
        raise ServingError(StatusCode.ABORTED, "the index was swapped while the request was answered. Try again.")

    def _check_held(self, node_ids: Sequence[str]) -> None:
        other = self._index.elsewhere(node_ids)
        if other is not None:
            what = f"node {other[:200]!r}" if other else "products at no node"
            raise invalid(f"{what}: {ELSEWHERE}")

    def _searched(self, requests: Sequence[Any], version: int, deadline_s: float | None) -> list[Any]:
        queries = self._queries(requests, version, deadline_s)
        groups: dict[tuple[int, str, ProductFilter], list[int]] = {}
        for place, query in enumerate(queries):
            groups.setdefault(query.group, []).append(place)
        responses: list[Any] = [None] * len(queries)
        for (k, node_id, wanted), places in groups.items():
            spare = any(queries[place].but for place in places)
            vectors = np.stack([queries[place].vector for place in places])
            answer = self._index.live.search(vectors, k + spare, node_id or None, wanted or None)
            if answer.version != version:
                raise IndexSwappedError(f"index {answer.version} answered, expected {version}.")
            for row, place in enumerate(places):
                responses[place] = _response(answer, row, k, queries[place].but)
        return responses

    def _found(self, product_ids: Sequence[str], version: int) -> Any:
        live = self._index.live
        found = [upsert for product_id in product_ids if (upsert := live.find(product_id)) is not None]
        to_embed = [product_id for product_id in product_ids if live.is_to_embed(product_id)]
        if live.version != version:
            raise IndexSwappedError(f"index {live.version} is there, expected {version}.")
        return messages.FindResponse(products=map(_product, found), version=version, to_embed=to_embed)

    def _queries(self, requests: Sequence[Any], version: int, deadline_s: float | None) -> list[_Query]:
        new = [number for number, request in enumerate(requests) if request.WhichOneof("query") == "product"]
        groups = [self._group(request, version) for request in requests]
        embedded = dict(zip(new, self._embedded([requests[number].product for number in new], version, deadline_s), strict=True))
        found = []
        for number, (request, group) in enumerate(zip(requests, groups, strict=True)):
            kind = request.WhichOneof("query")
            if kind == "product_id":
                found.append(_Query(self._vector_of(request.product_id), request.product_id, group))
            elif kind == "vector":
                vector = self._vector(request.vector, "the query's vector")
                if not vector.any():
                    raise invalid(f"query {number}: its vector is all zeros, which nothing is similar to. Send another one.")
                found.append(_Query(vector, "", group))
            elif kind == "product":
                found.append(_Query(embedded[number], "", group))
            else:
                raise invalid("the query is missing. Send a product_id, a vector or a product.")
        return found

    def _group(self, request: Any, version: int) -> tuple[int, str, ProductFilter]:
        _check_version(request.model_version, version)
        k = checked_k(request, self._bounds)
        return k, request.node_id, _filter(request.filter) if request.HasField("filter") else ProductFilter()

    def _vector_of(self, product_id: str) -> _Vector:
        found = self._index.live.vector_of(product_id)
        if found is None:
            raise ServingError(
                StatusCode.NOT_FOUND, f"product {product_id[:200]!r} isn't in the index. Ask with its fields or vector, or upsert it first."
            )
        return found

    def _vector(self, vector: Any, what: str) -> _Vector:
        dimension = self._index.live.dimension
        if len(vector.values) != dimension:  # Said here, since vectors of several lengths can't be stacked for the index to refuse.
            raise NeighbourIndexError(
                f"{what} has {len(vector.values)} numbers, the index has dimension {dimension}. "
                "Embed it with the model that the index was built for."
            )
        return np.array(vector.values, np.float32)

    def _embedded(self, products: Sequence[Any], version: int, deadline_s: float | None) -> Sequence[_Vector]:
        if not products:
            return []
        if self._model is None or not version:
            why = "no model server is named" if self._model is None else "it isn't known which model the index was built for"
            raise ServingError(StatusCode.FAILED_PRECONDITION, f"new products can't be embedded: {why}. Send a vector.")
        if len(products) > self._bounds.max_embedded:
            raise invalid(
                f"{len(products)} products are to be embedded, at most {self._bounds.max_embedded} at a time. Send them in parts."
            )
        deadline_s = self._model.moment(deadline_s)  # For all questions together.
        examples = [serialized_example(product, f"product {number}") for number, product in enumerate(products)]
        read = self._model.fields(version, deadline_s)
        if read is not None:
            known = {*read, *FIELDS}  # A whole product may be sent, whatever the model reads of it.
            for number, product in enumerate(products):
                check_fields(product, known, f"product {number}")
        pictures = [number for number, product in enumerate(products) if is_picture_alone(product)]
        if pictures:
            vectors, is_read = self._model.embed_pictures(examples, version, deadline_s)
            _check_pictures(pictures, is_read)
        else:
            vectors = self._model.embed(examples, version, deadline_s)
        if vectors.shape[1] != self._index.live.dimension:
            raise NeighbourIndexError(
                f"model {version} answered {vectors.shape[1]} numbers, index {version} has dimension {self._index.live.dimension}."
            )
        empty = np.flatnonzero(~vectors.any(axis=1))
        if len(empty):
            raise invalid(f"product {empty[0]}: model {version} knows nothing that it says, so nothing is similar to it. Send more fields.")
        return list(vectors)

    def _upserts(self, request: Any, version: int, deadline_s: float | None) -> list[Upsert]:
        kinds = [product.WhichOneof("content") for product in request.products]
        if None in kinds:
            raise invalid(f"products[{kinds.index(None)}] has neither a vector nor a product. Send one of them.")
        _check_version(request.model_version, version)
        if "vector" in kinds and version and not request.model_version:
            raise invalid(f"model_version is missing: say which model made the vectors; the index holds those of {version}.")
        new = [product.product for product, kind in zip(request.products, kinds, strict=True) if kind == "product"]
        embedded = iter(self._embedded(new, version, deadline_s))
        return [
            Upsert(
                product.product_id,
                product.node_id,
                next(embedded)
                if kind == "product"
                else self._vector(product.vector, f"the vector of product {product.product_id[:200]!r}"),
                _fields(product),
            )
            for product, kind in zip(request.products, kinds, strict=True)
        ]

    def _applied(self, changes: Sequence[Upsert | Delete | Move], version: int) -> Any:
        return messages.ChangeResponse(sequence=self._index.live.apply(changes, version), version=version)

    def _check_changes(self, name: str, found: int) -> None:
        if not 1 <= found <= self._bounds.max_changes:
            raise invalid(f"{name}: found {found}, expected 1 to {self._bounds.max_changes}. Send them in parts.")


def _check_pictures(pictures: Sequence[int], is_read: npt.NDArray[np.bool_]) -> None:
    """Refuses products that are nothing but a picture which can't be read: their vectors would be those of no product at all."""
    for number in pictures:
        if not is_read[number]:
            raise invalid(
                f"product {number}: image_bytes isn't a picture that the model can read. Send a whole JPEG or PNG, or fields, too."
            )


def _check_version(found: int, version: int) -> None:
    if found and found != version:
        raise ServingError(
            StatusCode.FAILED_PRECONDITION,
            f"the request is for model {found}, the index was built for model {version}. Ask with the vectors of that model.",
        )


def _filter(found: Any) -> ProductFilter:
    return ProductFilter(
        tuple(found.shop),
        tuple(found.brand),
        tuple(found.gender),
        found.min_price if found.HasField("min_price") else None,
        found.max_price if found.HasField("max_price") else None,
    )


def _fields(product: Any) -> dict[str, Any]:
    """Returns what a product can be filtered by: what is said so, else the product's own fields of these names."""
    given, own = product.filter_fields, product.product.fields.fields
    found = {name: getattr(given, name) for name in (*TEXT_COLUMNS, _PRICE) if given.HasField(name)}
    for name in TEXT_COLUMNS:
        if name not in found and name in own and own[name].string_value:
            found[name] = own[name].string_value
    if _PRICE not in found and _PRICE in own and own[_PRICE].WhichOneof("kind") == "number_value":
        found[_PRICE] = own[_PRICE].number_value
    return found


def _product(found: Upsert) -> Any:
    return messages.UpsertedProduct(
        product_id=found.product_id,
        node_id=found.node_id,
        vector=messages.Vector(values=found.vector.tolist()),
        filter_fields=messages.FilterFields(**found.fields),
    )


def _response(answer: LiveAnswer, row: int, k: int, but: str) -> Any:
    response = messages.SearchResponse(version=answer.version, sequence=answer.sequence, plan=answer.plan.reason)
    add = response.neighbours.add
    left = k
    for product_id, similarity, node_id in zip(
        answer.ids[row].tolist(), answer.similarities[row].tolist(), answer.node_ids[row].tolist(), strict=True
    ):
        if left and (not but or product_id != but):
            add(product_id=product_id, similarity=similarity, node_id=node_id)
            left -= 1
    return response
