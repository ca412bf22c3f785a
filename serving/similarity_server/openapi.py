"""Describes the REST API as an OpenAPI document, made of the messages themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from serving.similarity_server import similarity_pb2
from serving.similarity_server.json_messages import is_repeated

VERSION = "1"
_STRUCT = "google.protobuf.Struct"
_TYPES: dict[int, dict[str, str]] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_INT64: {"type": "integer", "format": "int64"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
}
_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "status": {"type": "string", "description": "gRPC's name of the status."},
                "message": {"type": "string"},
                "request_id": {"type": "string"},
            },
        }
    },
}


@dataclass(frozen=True)
class Route:
    """One method over REST.

    Attributes:
        verb: GET or POST.
        path: of the request.
        api: name of the method.
        summary: what it answers.
    """

    verb: str
    path: str
    api: str
    summary: str


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """Returns the OpenAPI 3.1 document of some routes."""
    methods = similarity_pb2.DESCRIPTOR.services_by_name["Similarity"].methods_by_name
    paths: dict[str, Any] = {}
    for route in routes:
        method = methods[route.api]
        operation: dict[str, Any] = {
            "operationId": route.api,
            "summary": route.summary,
            "responses": {
                "200": {"description": "The answer.", "content": _content(_reference(method.output_type))},
                "default": {"description": "Why not.", "content": _content({"$ref": "#/components/schemas/Error"})},
            },
        }
        if route.verb == "POST":
            operation["requestBody"] = {"required": True, "content": _content(_reference(method.input_type))}
        paths.setdefault(route.path, {})[route.verb.lower()] = operation
    schemas = {name: _schema(message) for name, message in similarity_pb2.DESCRIPTOR.message_types_by_name.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Similar products", "version": VERSION},
        "paths": paths,
        "components": {"schemas": {**schemas, "Error": _ERROR}},
    }


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _reference(message: Descriptor) -> dict[str, Any]:
    return {"type": "object"} if message.full_name == _STRUCT else {"$ref": f"#/components/schemas/{message.name}"}


def _schema(message: Descriptor) -> dict[str, Any]:
    return {"type": "object", "properties": {field.name: _property(field) for field in message.fields}, "additionalProperties": False}


def _property(field: FieldDescriptor) -> dict[str, Any]:
    one = _reference(field.message_type) if field.message_type else _TYPES[field.type]
    return {"type": "array", "items": one} if is_repeated(field) else one
