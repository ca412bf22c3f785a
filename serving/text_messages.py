"""Reads TensorFlow Serving's small configuration files, in protocol buffers' text format, without its package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from schemas.errors import SettingsError

PACKAGE = "aisle.serving"
FIELD = descriptor_pb2.FieldDescriptorProto
_MAX_BYTES = 1_000_000


def message_classes(file_name: str, messages: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns classes of messages that are read as text, where only the names of fields count.

    Args:
        file_name: any that no other messages have.
        messages: name to fields, and field to its type: a number of `FIELD`, a list of one for a repeated field, the name of a wrapper
            such as `Int64Value`, or with a dot before it that of a message in `PACKAGE`.
    """
    file = descriptor_pb2.FileDescriptorProto(name=file_name, package=PACKAGE, syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for message, fields in messages.items():
        described = file.message_type.add(name=message)
        for number, (name, kind) in enumerate(fields.items(), 1):
            field = described.field.add(name=name, number=number, label=FIELD.LABEL_OPTIONAL)
            if isinstance(kind, list):
                field.label, field.type = FIELD.LABEL_REPEATED, kind[0]
            elif isinstance(kind, str):
                field.type = FIELD.TYPE_MESSAGE
                field.type_name = f".{PACKAGE}{kind}" if kind.startswith(".") else f".google.protobuf.{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return {name: _class_of(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in messages}


def _class_of(descriptor: Any) -> Any:
    """Returns the class of a message: newer releases of protobuf have a function for it, older ones a factory."""
    made = getattr(message_factory, "GetMessageClass", None)
    return made(descriptor) if made else message_factory.MessageFactory().GetPrototype(descriptor)


def read_text_message(path: Path, message: Any) -> Any:
    """Fills a message from a file.

    Raises:
        SettingsError: the file can't be read, is larger than 1 MB, or isn't such a message. Names line and column.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
        if len(raw) > _MAX_BYTES:
            raise SettingsError(f"{path}: more than {_MAX_BYTES} bytes aren't a configuration. Name the right file.")
        return text_format.Parse(raw.decode("utf-8"), message)
    except OSError as error:
        raise SettingsError(f"{path}: can't be read: {error.strerror}. Name a file you may read.") from None
    except (text_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(f"{path}: this isn't {message.DESCRIPTOR.name} in text format: {error}.") from None
