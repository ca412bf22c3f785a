#!/usr/bin/env bash
# Generates Python from the .proto files of schemas/, into the packages that speak them. Start it with `make protos`.
set -euo pipefail
cd "$(dirname "$0")/.."

# A protoc whose code runs with every protobuf from 3.20 on. It isn't in .venv, whose protobuf TFX fixes.
GRPCIO_TOOLS=1.50.0
PYTHON=3.10 # The newest that this release has wheels for.
target=serving/similarity_server

.uv/bin/uv run --quiet --no-project --python "$PYTHON" --with "grpcio-tools==$GRPCIO_TOOLS" --with 'setuptools<81' \
  python -W ignore -m grpc_tools.protoc "--proto_path=$target=schemas" --python_out=. --grpc_python_out=. \
  "$target/similarity.proto" "$target/tf_example.proto"
rm "$target/tf_example_pb2_grpc.py" # It has no service.
for name in similarity tf_example; do
  # The test compares this digest, so it needs no protoc.
  printf '# sha256 of schemas/%s.proto: %s\n' "$name" "$(sha256sum "schemas/$name.proto" | cut -d' ' -f1)" >> "$target/${name}_pb2.py"
done
