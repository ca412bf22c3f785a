"""Answers which products are similar, over gRPC and REST, until it is stopped: the verb `aisle similar`."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from pipeline.commands.options import add_settings, are_settings_named, settings_of, write_line
from pipeline.commands.server_options import add_options, laid_over
from pipeline.commands.until_stopped import serve_until_stopped
from schemas.errors import SettingsError
from schemas.settings import SimilarSettings
from serving.request_log import log_to
from serving.similarity_server.answers import Bounds
from serving.similarity_server.followed_index import Shard
from serving.similarity_server.server import RouterOptions, RouterServer, ServerOptions, SimilarityServer

EPILOG = """examples:
  aisle similar --config demo/aisle.yaml --model-server http://127.0.0.1:8501
  aisle similar --index release/indexes/demo/1790000000 --folder similar-state --port 0 --rest-port 0 --json
  aisle similar --config demo/aisle.yaml --shard shoes bags --shard-rest --folder shard-1 --port 8610 --rest-port 8611
  aisle similar --route 127.0.0.1:8610 127.0.0.1:8620
  aisle similar --route shard-1:8610 shard-2:8620 --shard-ca-file ca.pem
  curl -d '{"product_id": "A-000100", "k": 5, "node_id": "n001"}' http://127.0.0.1:8601/v1/similar:search
  curl -d '{"product": {"fields": {"title": "red trousers"}}, "k": 5}' http://127.0.0.1:8601/v1/similar:search

With --config it serves the index that the run made live, and follows new versions and rollbacks. Changes are kept in --folder.
Options from --folder on are settings of the section `similar`, too, and win over it.
Addresses go to standard output, one line of JSON a request to standard error. Ctrl-C or SIGTERM: requests that are being answered
end first."""
_STATE = "similarity_server"
_METAVARS = {
    "folder": "DIR",
    "model_server": "URL",
    "model_name": "NAME",
    "host": "ADDRESS",
    "rest_port": "PORT",
    "ssl_config_file": "FILE",
    **dict.fromkeys(("max_k", "max_message_bytes", "max_in_flight", "max_body_bytes", "max_connections"), "N"),
    **dict.fromkeys(("poll_seconds", "timeout_seconds", "grace_seconds"), "S"),
}
_ADDRESS = re.compile(r"(?:\[[0-9A-Za-z.:%]+\]|[^\s:/\[\]]+):([0-9]{1,5})")
_MAX_PORT = 65_535
_OF_SHARDS = ("index", "shard", "shard_rest", "folder", "model_server", "model_name", "poll_seconds")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add_settings(parser)
    parser.add_argument("--index", type=Path, metavar="DIR", help="serve this built index, and follow nothing")
    parser.add_argument("--shard", nargs="+", default=[], metavar="NODE", help="hold only products at these nodes and below, for a router")
    parser.add_argument("--shard-rest", action="store_true", help="hold products that are at no node as well")
    parser.add_argument("--route", nargs="+", metavar="ADDRESS", help="hold nothing: ask the shards at these gRPC addresses")
    parser.add_argument(
        "--shard-ca-file", type=Path, metavar="FILE", help="ask the shards over TLS; their certificates are signed with these, PEM"
    )
    add_options(parser, SimilarSettings, _METAVARS)
    parser.add_argument("--json", action="store_true", help="write addresses and version as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Serves until a signal and returns the exit code.

    Raises:
        AisleError: wrong options, nothing is live, an index that can't be opened, or a port that is taken.
    """
    options = _options(args)
    log_to(sys.stderr)
    server = RouterServer(options) if isinstance(options, RouterOptions) else SimilarityServer(options)
    return serve_until_stopped(server, lambda: _say(server, args.json))


def _options(args: argparse.Namespace) -> ServerOptions | RouterOptions:
    if args.route:
        _check_router(args)
    if args.shard_ca_file and not args.route:
        raise SettingsError("--shard-ca-file is for a router. Add --route with the shards' addresses.")
    if args.index and are_settings_named(args):
        raise SettingsError("say once what to serve: --index or --config.")
    if args.index and not args.folder:
        raise SettingsError("--index needs --folder, where the changes are kept.")
    settings = settings_of(args)
    similar = laid_over(settings.similar, args)
    listen: dict[str, Any] = {
        "host": similar.host,
        "port": similar.port,
        "rest_port": similar.rest_port,
        "ssl_config_file": Path(similar.ssl_config_file) if similar.ssl_config_file else None,
        "bounds": Bounds(max_k=similar.max_k),
        "max_message_bytes": similar.max_message_bytes,
        "max_in_flight": similar.max_in_flight,
        "max_body_bytes": similar.max_body_bytes,
        "max_connections": similar.max_connections,
        "timeout_s": similar.timeout_seconds,
        "grace_s": similar.grace_seconds,
        "log_requests": similar.log_requests,
    }
    if args.route:
        return RouterOptions(tuple(map(_shard_address, args.route)), args.shard_ca_file, **listen)
    return ServerOptions(
        folder=Path(similar.folder or Path(settings.run.root) / _STATE),
        push_folder=None if args.index else Path(settings.push.folder),
        built=args.index,
        shard=Shard(tuple(args.shard), args.shard_rest) if args.shard or args.shard_rest else None,
        model_server=similar.model_server,
        model_name=similar.model_name,
        poll_s=similar.poll_seconds,
        **listen,
    )


def _check_router(args: argparse.Namespace) -> None:
    """Refuses options of servers that hold products, which a router would leave out in silence."""
    given = [name for name in _OF_SHARDS if (value := getattr(args, name)) is not None and value is not False and value != []]
    named = ["--config or --set"] * are_settings_named(args) + [f"--{name.replace('_', '-')}" for name in given]
    if named:
        raise SettingsError(f"--route asks other servers, whose options these are: {', '.join(named)}. Leave them to those servers.")


def _shard_address(text: str) -> str:
    """Returns the address of a shard; gRPC itself would take 99999 for another port, and an empty address for its own machine."""
    found = _ADDRESS.fullmatch(text)
    if not found or not 1 <= int(found[1]) <= _MAX_PORT:
        raise SettingsError(f"--route: found {text!r}, expected HOST:PORT with a port from 1 to {_MAX_PORT}. Name a shard's gRPC address.")
    return text


def _say(server: SimilarityServer | RouterServer, is_json: bool) -> None:
    version = server.version
    if is_json:
        write_line(json.dumps({"grpc": server.grpc_address, "rest": server.rest_address, "version": version}))
    else:
        write_line(f"serving similar products, version {version}")
        write_line(f"gRPC {server.grpc_address}")
        write_line(f"REST {server.rest_address}/v1/similar:search")
