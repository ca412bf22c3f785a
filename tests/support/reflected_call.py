"""Stands in for grpcurl: asks a server by reflection what a method takes, and calls it with JSON.

python -m tests.support.reflected_call -plaintext -d JSON HOST:PORT SERVICE/METHOD
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc


def pool_of(channel: grpc.Channel, service: str) -> descriptor_pool.DescriptorPool:
    """Returns the messages and methods of a service, as the server describes them."""
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    pool, added = descriptor_pool.DescriptorPool(), set()

    def add(**wanted: str) -> None:
        (answer,) = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(**wanted)]), timeout=20)
        file = descriptor_pb2.FileDescriptorProto.FromString(answer.file_descriptor_response.file_descriptor_proto[0])
        added.add(file.name)
        for name in file.dependency:
            if name not in added:
                add(file_by_filename=name)
        pool.Add(file)

    add(file_containing_symbol=service)
    return pool


def call(address: str, method: str, text: str) -> str:
    """Returns what a method answers to a request, both JSON."""
    service, _, name = method.partition("/")
    with grpc.insecure_channel(address) as channel:
        pool = pool_of(channel, service)
        described = pool.FindServiceByName(service).methods_by_name[name]
        takes, gives = _class(pool, described.input_type), _class(pool, described.output_type)
        asked = channel.unary_unary(f"/{method}", takes.SerializeToString, gives.FromString)
        answer = asked(json_format.Parse(text, takes(), descriptor_pool=pool), timeout=20)
    return str(json_format.MessageToJson(answer, descriptor_pool=pool))


def _class(pool: descriptor_pool.DescriptorPool, described: Any) -> Any:
    return message_factory.MessageFactory(pool).GetPrototype(described)


def main(words: Sequence[str]) -> int:
    """Calls and writes the answer to standard output."""
    plain, data, text, address, method = words
    if (plain, data) != ("-plaintext", "-d"):
        raise SystemExit(f"expected -plaintext -d JSON HOST:PORT SERVICE/METHOD, found {' '.join(words)}")
    sys.stdout.write(call(address, method, text) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
