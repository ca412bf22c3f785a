"""Asks a model server, over TensorFlow Serving's REST API, for the vectors of new products."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import orjson
import urllib3
from grpc import StatusCode

from schemas.errors import SettingsError
from serving.similarity_server.timed_connections import TimedPools, until
from serving.status import ServingError, invalid

SIGNATURE, WHOLE_SIGNATURE = "embed", "serving_default"
_NAMED_SIGNATURE = "predict_products"  # Reads the fields that `embed` reads, each an input of its own.
_HAS = "has_"  # Before the name of an encoder: the output that says of which products it made a vector.
_AVAILABLE = "AVAILABLE"
_MAX_REPLY_BYTES = 64_000_000
_CONNECTIONS = 16
_Names = frozenset[str]


class MissingVersionError(ServingError):
    """The model server doesn't serve the version that the index was built for.

    Args:
        wanted: that version.
        served: those it serves.
    """

    def __init__(self, wanted: int, served: Sequence[int]) -> None:
        found = "serves " + ", ".join(map(str, served)) if served else "serves none of its versions"
        super().__init__(
            StatusCode.FAILED_PRECONDITION,
            f"the index was built for model {wanted}, the model server {found}. Deploy index and model together.",
        )


class ModelClient:
    """One model of a model server. Any thread may ask.

    Args:
        address: such as http://127.0.0.1:8501.
        name: of the model.
        timeout_s: to wait for a whole answer.

    Raises:
        SettingsError: the address isn't one.
    """

    def __init__(self, address: str, name: str, timeout_s: float = 10.0) -> None:
        self._timeout_s = timeout_s
        try:
            found = urllib3.util.parse_url(address)
        except urllib3.exceptions.LocationParseError:
            found = urllib3.util.Url()
        if found.scheme not in ("http", "https") or not found.host:
            raise SettingsError(f"model server {address!r} isn't an address. Write it like http://127.0.0.1:8501.")
        self._root = f"{address.rstrip('/')}/v1/models/{quote(name, safe='')}"
        self._fields: tuple[int, _Names | None] | None = None
        self._pool = TimedPools(maxsize=_CONNECTIONS, retries=False)

    def moment(self, deadline_s: float | None) -> float:
        """Returns when the client gives up what is asked from now on: after its own time, and by a deadline at the latest."""
        own_s = time.monotonic() + self._timeout_s
        return own_s if deadline_s is None else min(own_s, deadline_s)

    def embed(self, examples: Sequence[bytes], version: int, deadline_s: float | None = None) -> npt.NDArray[np.float32]:
        """Returns float32 `[num_products, dimension]`, the embeddings by one version of the model.

        Args:
            examples: serialized.
            version: of the model, no other is asked.
            deadline_s: of the monotonic clock; None: the client's own.

        Raises:
            MissingVersionError: the version isn't served.
            ServingError: INVALID_ARGUMENT: the model refuses a product; UNAVAILABLE, DEADLINE_EXCEEDED: no answer; INTERNAL: not one.
        """
        outputs = self._predicted(SIGNATURE, examples, version, deadline_s)
        return _vectors(outputs.get("embedding") if isinstance(outputs, dict) else outputs, SIGNATURE, len(examples))

    def embed_pictures(
        self, examples: Sequence[bytes], version: int, deadline_s: float | None = None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Returns what `embed` does, and bool `[num_products]`: of which products any of the model's encoders could read something.

        Args:
            examples: serialized.
            version: of the model, no other is asked.
            deadline_s: of the monotonic clock; None: the client's own.

        Raises:
            MissingVersionError: the version isn't served.
            ServingError: as `embed`; INVALID_ARGUMENT: the model has no encoders.
        """
        outputs = self._predicted(WHOLE_SIGNATURE, examples, version, deadline_s)
        outputs = outputs if isinstance(outputs, dict) else {}
        read = [outputs[name] for name in outputs if name.startswith(_HAS)]
        if not read:
            raise invalid(f"model {version} reads no pictures. Send the product's fields.")
        return _vectors(outputs.get("embedding"), WHOLE_SIGNATURE, len(examples)), _any_read(read, len(examples))

    def fields(self, version: int, deadline_s: float | None = None) -> _Names | None:
        """Returns the product fields that a version of the model reads; None where it doesn't say so.

        `embed` takes serialized examples, which hide their fields; the model's other signatures name them, and the vectors that its
        encoders make, which an example may hold, too. A version is asked once.

        Raises:
            ServingError: UNAVAILABLE, DEADLINE_EXCEEDED: no answer.
        """
        known = self._fields
        if known is None or known[0] != version:
            status, reply = self._ask("GET", f"{self._root}/versions/{version}/metadata", None, deadline_s)
            if status != 200:
                return None  # Whoever asks for vectors next is told why.
            known = self._fields = version, _named_fields(reply)
        return known[1]

    def _predicted(self, signature: str, examples: Sequence[bytes], version: int, deadline_s: float | None) -> Any:
        """Returns the outputs by name; a lone one goes without its name."""
        inputs = {"examples": [{"b64": base64.b64encode(one).decode()} for one in examples]}
        body = orjson.dumps({"signature_name": signature, "inputs": inputs})
        status, reply = self._ask("POST", f"{self._root}/versions/{version}:predict", body, deadline_s)
        if status == 404:
            raise MissingVersionError(version, self.served(deadline_s))
        if status != 200:
            raise _refusal(status, reply)
        return reply.get("outputs")

    def served(self, deadline_s: float | None = None) -> list[int]:
        """Returns the versions that are available, none where the model server doesn't know the model.

        Raises:
            ServingError: UNAVAILABLE, DEADLINE_EXCEEDED: no answer.
        """
        _, reply = self._ask("GET", self._root, None, deadline_s)
        rows = reply.get("model_version_status")
        states = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        return sorted(int(row["version"]) for row in states if row.get("state") == _AVAILABLE and str(row.get("version")).isdecimal())

    def close(self) -> None:
        """Closes the connections."""
        self._pool.clear()

    def _ask(self, method: str, url: str, body: bytes | None, deadline_s: float | None) -> tuple[int, dict[str, Any]]:
        moment_s = self.moment(deadline_s)
        left_s = moment_s - time.monotonic()
        if left_s <= 0:
            raise _too_late()
        try:
            with until(moment_s):
                response = self._pool.request(method, url, body=body, timeout=left_s, redirect=False, preload_content=False)
                content = response.read(_MAX_REPLY_BYTES + 1)
            if len(content) > _MAX_REPLY_BYTES:
                response.close()
                raise ServingError(StatusCode.INTERNAL, f"the model server's answer is larger than {_MAX_REPLY_BYTES} bytes.")
            response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            refused = isinstance(error, urllib3.exceptions.NewConnectionError)  # Which some releases count among the timeouts.
            if (isinstance(error, urllib3.exceptions.TimeoutError) and not refused) or time.monotonic() >= moment_s:
                raise _too_late() from None
            raise ServingError(
                StatusCode.UNAVAILABLE, f"the model server can't be asked: {type(error).__name__}. Try again later."
            ) from None
        try:
            reply = orjson.loads(content)
        except orjson.JSONDecodeError:
            reply = None
        if not isinstance(reply, dict):
            raise ServingError(StatusCode.UNAVAILABLE, f"the model server answered {response.status} and no JSON. Is its REST port named?")
        return response.status, reply


def _named_fields(reply: dict[str, Any]) -> _Names | None:
    """Returns what TensorFlow Serving's metadata says of fields."""
    try:
        signature = reply["metadata"]["signature_def"]["signature_def"][_NAMED_SIGNATURE]
        made = [name.removeprefix(_HAS) for name in signature["outputs"] if name.startswith(_HAS)]
        return frozenset([*signature["inputs"], *made]) or None
    except (KeyError, TypeError, AttributeError):
        return None


def _vectors(outputs: Any, signature: str, num_products: int) -> npt.NDArray[np.float32]:
    try:
        vectors = np.asarray(outputs, np.float32)
    except (TypeError, ValueError):
        vectors = np.empty(0, np.float32)
    if vectors.ndim != 2 or len(vectors) != num_products:
        raise ServingError(
            StatusCode.INTERNAL,
            f"the model server answered {signature} with the shape {list(vectors.shape)} for {num_products} products.",
        )
    return vectors


def _any_read(outputs: list[Any], num_products: int) -> npt.NDArray[np.bool_]:
    """Returns bool `[num_products]`, whether any of the outputs, each of as many booleans, says so."""
    if any(not isinstance(output, list) or len(output) != num_products for output in outputs):
        raise ServingError(
            StatusCode.INTERNAL, f"the model server's outputs {_HAS}... aren't one boolean for each of {num_products} products."
        )
    return np.array([any(said is True for said in row) for row in zip(*outputs, strict=True)], np.bool_)


def _too_late() -> ServingError:
    return ServingError(StatusCode.DEADLINE_EXCEEDED, "the model server didn't answer in time. Try again later.")


def _refusal(status: int, reply: dict[str, Any]) -> ServingError:
    said = str(reply.get("error", "no reason given"))[:500]
    if status == 400:
        return invalid(f"the model refuses the product: {said}")
    code = StatusCode.DEADLINE_EXCEEDED if status == 504 else StatusCode.UNAVAILABLE if status in (429, 503) else StatusCode.INTERNAL
    return ServingError(code, f"the model server answered {status}: {said}")
