"""Loads and runs SavedModels through TensorFlow's C library, as TensorFlow Serving does: Python's own lock is free meanwhile."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from grpc import StatusCode
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from serving.model_server.tensorflow_errors import message_of
from serving.model_server.version_folder import check_variables
from serving.status import ServingError, code_of_number

Array = npt.NDArray[Any]
_STRING_BYTES = 24  # of a TF_TString
_IN_CALLERS_THREAD = config_pb2.RunOptions(inter_op_thread_pool=-1).SerializeToString()
_KEPT = (meta_graph_pb2.MetaGraphDef.SIGNATURE_DEF_FIELD_NUMBER, meta_graph_pb2.MetaGraphDef.SAVER_DEF_FIELD_NUMBER)
_VOID, _SIZE, _INT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int


class _Output(ctypes.Structure):
    _fields_ = [("operation", _VOID), ("index", _INT)]


class _Buffer(ctypes.Structure):
    _fields_ = [("data", _VOID), ("length", _SIZE), ("free", _VOID)]


# What each function returns and takes. Without this ctypes would cut pointers to 32 bits.
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "TF_NewStatus": (_VOID, []),
    "TF_DeleteStatus": (None, [_VOID]),
    "TF_GetCode": (_INT, [_VOID]),
    "TF_Message": (ctypes.c_char_p, [_VOID]),
    "TF_NewSessionOptions": (_VOID, []),
    "TF_DeleteSessionOptions": (None, [_VOID]),
    "TF_SetConfig": (None, [_VOID, ctypes.c_char_p, _SIZE, _VOID]),
    "TF_NewGraph": (_VOID, []),
    "TF_DeleteGraph": (None, [_VOID]),
    "TF_NewBuffer": (_VOID, []),
    "TF_NewBufferFromString": (_VOID, [ctypes.c_char_p, _SIZE]),
    "TF_DeleteBuffer": (None, [_VOID]),
    "TF_LoadSessionFromSavedModel": (_VOID, [_VOID, _VOID, ctypes.c_char_p, _VOID, _INT, _VOID, _VOID, _VOID]),
    "TF_CloseSession": (None, [_VOID, _VOID]),
    "TF_DeleteSession": (None, [_VOID, _VOID]),
    "TF_SessionRun": (None, [_VOID, _VOID, _VOID, _VOID, _INT, _VOID, _VOID, _INT, _VOID, _INT, _VOID, _VOID]),
    "TF_GraphOperationByName": (_VOID, [_VOID, ctypes.c_char_p]),
    "TF_AllocateTensor": (_VOID, [_INT, _VOID, _INT, _SIZE]),
    "TF_DeleteTensor": (None, [_VOID]),
    "TF_TensorData": (_VOID, [_VOID]),
    "TF_TensorByteSize": (_SIZE, [_VOID]),
    "TF_TensorType": (_INT, [_VOID]),
    "TF_NumDims": (_INT, [_VOID]),
    "TF_Dim": (ctypes.c_int64, [_VOID, _INT]),
    "TF_StringInit": (None, [_VOID]),
    "TF_StringAssignView": (None, [_VOID, ctypes.c_char_p, _SIZE]),
    "TF_StringGetDataPointer": (_VOID, [_VOID]),
    "TF_StringGetSize": (_SIZE, [_VOID]),
}
_LONG = ("TF_LoadSessionFromSavedModel", "TF_CloseSession", "TF_DeleteSession", "TF_DeleteGraph", "TF_SessionRun")


class _Library:
    """The functions; those that take long let other threads of Python run, the others aren't worth the change."""

    def __init__(self, path: Path) -> None:
        self._short, self._long = ctypes.PyDLL(str(path)), ctypes.CDLL(str(path))
        for name, (returned, taken) in _FUNCTIONS.items():
            function = getattr(self._long if name in _LONG else self._short, name)
            function.restype, function.argtypes = returned, taken
            setattr(self, name, function)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


_C: Any = _Library(next(Path(tf.__file__).parent.glob("libtensorflow_cc.so*")))


class _Status:
    """Where a call says how it went."""

    def __enter__(self) -> _Status:
        self.pointer = _C.TF_NewStatus()
        return self

    def __exit__(self, *_: object) -> None:
        _C.TF_DeleteStatus(self.pointer)

    def check(self, what: str) -> None:
        """Raises what a call complained of, after the words of `what`."""
        number = _C.TF_GetCode(self.pointer)
        if number:
            raise ServingError(code_of_number(number), f"{what}: {message_of(_C.TF_Message(self.pointer))}")


class CSession:
    """A SavedModel's graph, variables and tables in memory; safe to call from many threads.

    Args:
        folder: of the SavedModel.
        config: `ConfigProto` of the session.

    Attributes:
        meta_graph: the signatures of the model and how it restores its variables, and nothing else of its `MetaGraphDef`.

    Raises:
        ServingError: it can't be loaded. Carries TensorFlow's own code; NOT_FOUND where the files of its variables are missing.
    """

    def __init__(self, folder: Path, config: Any) -> None:
        self._graph = _C.TF_NewGraph()
        options, meta = _C.TF_NewSessionOptions(), _C.TF_NewBuffer()
        raw, tags = config.SerializeToString(), (ctypes.c_char_p * 1)(tf.saved_model.SERVING.encode())
        self._session: int | None = None
        try:
            with _Status() as status:
                _C.TF_SetConfig(options, raw, len(raw), status.pointer)
                status.check("session config")
                arguments = (options, None, str(folder).encode(), tags, 1, self._graph, meta, status.pointer)
                self._session = _C.TF_LoadSessionFromSavedModel(*arguments)
                status.check(f"{folder}: the model can't be loaded")
            buffer = ctypes.cast(meta, ctypes.POINTER(_Buffer)).contents
            raw = memoryview((ctypes.c_char * buffer.length).from_address(buffer.data)).cast("B")
            self.meta_graph = meta_graph_pb2.MetaGraphDef.FromString(_only(raw, _KEPT))
            check_variables(folder, self.meta_graph.saver_def.restore_op_name)
        except BaseException:
            self.close()
            raise
        finally:
            _C.TF_DeleteSessionOptions(options)
            _C.TF_DeleteBuffer(meta)

    def output(self, tensor: str) -> _Output:
        """Returns where a tensor of the graph comes from, by a name such as `x:0`.

        Raises:
            ServingError: INVALID_ARGUMENT: the graph has none.
        """
        name, _, index = tensor.partition(":")
        operation = _C.TF_GraphOperationByName(self._graph, name.encode())
        if not operation:
            raise ServingError(StatusCode.INVALID_ARGUMENT, f"the graph has no operation {name!r}. Export the model again.")
        return _Output(operation, int(index or 0))

    def run(
        self, what: str, feeds: Sequence[_Output], arrays: Sequence[Array], fetches: Sequence[_Output], in_callers_thread: bool = False
    ) -> list[Array]:
        """Returns the arrays of `fetches` for the arrays of `feeds`, copied; strings are objects of bytes.

        Args:
            what: is run, for the error.
            feeds: where `arrays` go.
            arrays: what is computed from.
            fetches: what is computed.
            in_callers_thread: whether operations run one after the other in this thread, at its priority.

        Raises:
            ServingError: the graph refuses a value; says `what` first.
        """
        given: list[int] = []
        found = (_VOID * len(fetches))()
        options = _C.TF_NewBufferFromString(_IN_CALLERS_THREAD, len(_IN_CALLERS_THREAD)) if in_callers_thread else None
        try:
            given += [_tensor(array) for array in arrays]
            with _Status() as status:
                _C.TF_SessionRun(
                    self._session, options,
                    (_Output * len(feeds))(*feeds), (_VOID * len(given))(*given), len(given),
                    (_Output * len(fetches))(*fetches), found, len(fetches),
                    None, 0, None, status.pointer,
                )  # fmt: skip
                status.check(what)
            return [_array(tensor) for tensor in found if tensor]
        finally:
            for tensor in (*given, *found):
                if tensor:
                    _C.TF_DeleteTensor(tensor)
            if options:
                _C.TF_DeleteBuffer(options)

    def close(self) -> None:
        """Frees all of it; nobody may be calling any more."""
        session, self._session = self._session, None
        with _Status() as status:
            if session:
                _C.TF_CloseSession(session, status.pointer)
                _C.TF_DeleteSession(session, status.pointer)
        graph, self._graph = self._graph, None
        if graph:
            _C.TF_DeleteGraph(graph)


def _only(raw: memoryview, fields: Sequence[int]) -> bytes:
    """Returns some fields of a serialized message all of whose fields are messages.

    The graph is most of a meta graph. To read it takes a second, in which Python answers no request.
    """
    kept, at = bytearray(), 0
    while at < len(raw):
        start = at
        tag, at = _varint(raw, at)
        length, at = _varint(raw, at)
        at += length
        if tag >> 3 in fields:
            kept += raw[start:at]
    return bytes(kept)


def _varint(raw: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while raw[at] & 0x80:
        value |= (raw[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | raw[at] << shift, at + 1


def _tensor(array: Array) -> int:
    """Returns a tensor with an array's values; strings only point to the array's own bytes, which must outlive it."""
    is_text = array.dtype.kind == "O"
    size = array.size * _STRING_BYTES if is_text else array.nbytes
    dtype = types_pb2.DT_STRING if is_text else tf.dtypes.as_dtype(array.dtype).as_datatype_enum
    tensor = int(_C.TF_AllocateTensor(dtype, (ctypes.c_int64 * array.ndim)(*array.shape), array.ndim, size))
    data = _C.TF_TensorData(tensor)
    if not is_text:
        ctypes.memmove(data, np.ascontiguousarray(array).ctypes.data, size)
        return tensor
    for number, value in enumerate(array.reshape(-1).tolist()):
        place = data + number * _STRING_BYTES
        _C.TF_StringInit(place)
        _C.TF_StringAssignView(place, value, len(value))
    return tensor


def _array(tensor: int) -> Array:
    shape = [_C.TF_Dim(tensor, axis) for axis in range(_C.TF_NumDims(tensor))]
    dtype, size = tf.dtypes.as_dtype(_C.TF_TensorType(tensor)), _C.TF_TensorByteSize(tensor)
    data = _C.TF_TensorData(tensor) if size else 0
    raw = ctypes.string_at(data, size) if size else b""
    if dtype != tf.string:
        return np.frombuffer(raw, dtype.as_numpy_dtype).reshape(shape)
    strings = np.frombuffer(raw, np.uint8).reshape(-1, _STRING_BYTES)
    found = _short_strings(strings)
    if found is None:
        found = np.empty(len(strings), object)
        found[:] = [_string(raw, place, data) for place in range(0, size, _STRING_BYTES)]
    return found.reshape(shape)


def _short_strings(strings: Array) -> Array | None:
    """Returns strings that all lie inline; None: one doesn't, or ends in a zero byte, which NumPy's fixed width loses.

    Thousands of strings are cut out by NumPy in half the time that Python takes, while no other request is answered.
    """
    lengths = strings[:, :1] >> 2
    if not len(strings) or (strings[:, 0] & 3).any() or not lengths.any():
        return None
    places = np.arange(_STRING_BYTES - 1)
    kept = np.where(places < lengths, strings[:, 1:], np.uint8(0))
    last = np.take_along_axis(strings, lengths.astype(np.int64), axis=1)
    return None if ((last == 0) & (lengths > 0)).any() else kept.view(f"S{_STRING_BYTES - 1}")[:, 0].astype(object)


def _string(raw: bytes, place: int, data: int) -> bytes:
    length = raw[place]
    if length % 4 == 0:  # An inline string; the library's own functions would take ten times as long for a thousand of them.
        return raw[place + 1 : place + 1 + length // 4]
    string = data + place
    return ctypes.string_at(_C.TF_StringGetDataPointer(string), _C.TF_StringGetSize(string))
