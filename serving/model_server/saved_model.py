"""One loaded SavedModel: a session as TensorFlow Serving's C++ loader makes it, called by its signatures."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tensorflow.core.protobuf import config_pb2

from serving.model_server.c_library import CSession
from serving.model_server.tensors import Array, TensorSpec, check_inputs
from serving.status import ServingError

_INIT = "__saved_model_init_op"


@dataclass(frozen=True)
class Threads:
    """How many threads one call may use, and how many calls' parts may run at once; 0: as many as there are cores."""

    intra_op: int = 0
    inter_op: int = 0


@dataclass(frozen=True)
class Signature:
    """One function of a model.

    Attributes:
        name: its key.
        method_name: what kind of API it is for.
        inputs: what it takes.
        outputs: what it answers.
    """

    name: str
    method_name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]

    @property
    def is_batchable(self) -> bool:
        """Whether rows of several calls may be put together."""
        specs = [*self.inputs.values(), *self.outputs.values()]
        return bool(self.inputs) and all(spec.shape and spec.shape[0] == -1 for spec in specs)


class SavedModel:
    """A model in memory; safe to call from many threads.

    Args:
        folder: of the SavedModel.
        threads: for the model's session.

    Attributes:
        is_live: whether it answers clients. Until then it computes in the thread that calls it, whose priority may be low.

    Raises:
        ServingError: it can't be loaded. Carries TensorFlow's own code where it has one.
    """

    def __init__(self, folder: Path, threads: Threads = Threads()) -> None:
        config = config_pb2.ConfigProto(
            intra_op_parallelism_threads=threads.intra_op,
            inter_op_parallelism_threads=threads.inter_op,
            use_per_session_threads=False,
        )
        self._session = CSession(folder, config)
        self.signature_defs: dict[str, Any] = {
            name: definition for name, definition in self._session.meta_graph.signature_def.items() if name != _INIT
        }
        self.signatures = {name: _signature(name, definition) for name, definition in self.signature_defs.items()}
        self._called: set[str] = set()
        self.is_live = False
        try:
            self._places = {
                name: (self._found(signature.inputs), self._found(signature.outputs)) for name, signature in self.signatures.items()
            }
        except ServingError:
            self._session.close()
            raise

    def _found(self, specs: Mapping[str, TensorSpec]) -> list[Any]:
        return [self._session.output(spec.tensor) for spec in specs.values()]

    def prepare(self, name: str) -> None:
        """Makes a signature ready to be called: TensorFlow takes a second or more to optimize its graph, at the first call."""
        specs = self.signatures[name].inputs
        inputs = {key: np.zeros([max(size, 0) for size in spec.shape or ()], spec.numpy_dtype) for key, spec in specs.items()}
        with contextlib.suppress(ServingError):  # No rows may be too few for a graph; it is ready all the same.
            self.run(self.signatures[name], inputs)

    def prepared(self) -> list[str]:
        """Returns the signatures that are ready, which are those that were called."""
        return list(self._called)

    def run(self, signature: Signature, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Returns every output of a signature by name.

        Raises:
            ServingError: INVALID_ARGUMENT for inputs the signature can't take; the graph's own code where it refuses a value.
        """
        check_inputs(signature.name, signature.inputs, inputs)
        feeds, fetches = self._places[signature.name]
        arrays = [inputs[name] for name in signature.inputs]
        found = self._session.run(f"signature {signature.name!r}", feeds, arrays, fetches, in_callers_thread=not self.is_live)
        self._called.add(signature.name)
        return dict(zip(signature.outputs, found, strict=True))

    def close(self) -> None:
        """Frees the model; nobody may be calling it any more."""
        self._session.close()


def _signature(name: str, definition: Any) -> Signature:
    inputs = {key: _spec(info) for key, info in sorted(definition.inputs.items())}
    return Signature(name, definition.method_name, inputs, {key: _spec(info) for key, info in sorted(definition.outputs.items())})


def _spec(info: Any) -> TensorSpec:
    shape = None if info.tensor_shape.unknown_rank else tuple(dimension.size for dimension in info.tensor_shape.dim)
    return TensorSpec(info.name, info.dtype, shape)
