"""Answers which products are similar, over gRPC and REST, until it is stopped: the verb `aisle similar`."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from pipeline.commands.options import add_settings, are_settings_named, positive, settings_of, write_line
from pipeline.commands.until_stopped import port, seconds, serve_until_stopped
from schemas.errors import SettingsError
from serving.request_log import log_to
from serving.similarity_server.answers import Bounds
from serving.similarity_server.followed_index import Shard
from serving.similarity_server.server import RouterOptions, RouterServer, ServerOptions, SimilarityServer

EPILOG = """examples:
  aisle similar --config demo/aisle.yaml --model-server http://127.0.0.1:8501
  aisle similar --index release/indexes/demo/1790000000 --folder similar-state --port 0 --rest-port 0 --json
  aisle similar --config demo/aisle.yaml --shard shoes bags --shard-rest --folder shard-1 --port 8610 --rest-port 8611
  aisle similar --route 127.0.0.1:8610 127.0.0.1:8620
  curl -d '{"product_id": "alpha-17", "k": 5, "node_id": "sneakers"}' http://127.0.0.1:8601/v1/similar:search
  curl -d '{"product": {"fields": {"title": "red trousers"}}, "k": 5}' http://127.0.0.1:8601/v1/similar:search

With --config it serves the index that the run made live, and follows new versions and rollbacks. Changes are kept in --folder.
Addresses go to standard output, one line of JSON a request to standard error. Ctrl-C or SIGTERM: requests that are being answered
end first."""
_STATE = "similarity_server"
_ADDRESS = re.compile(r"(?:\[[0-9A-Za-z.:%]+\]|[^\s:/\[\]]+):([0-9]{1,5})")
_MAX_PORT = 65_535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add_settings(parser)
    parser.add_argument("--index", type=Path, metavar="DIR", help="serve this built index, and follow nothing")
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help=f"keep index and changes here (default with --config: run.root/{_STATE})"
    )
    parser.add_argument("--shard", nargs="+", default=[], metavar="NODE", help="hold only products at these nodes and below, for a router")
    parser.add_argument("--shard-rest", action="store_true", help="hold products that are at no node as well")
    parser.add_argument("--route", nargs="+", metavar="ADDRESS", help="hold nothing: ask the shards at these gRPC addresses")
    parser.add_argument("--model-server", default="", metavar="URL", help="REST address of the model server, to embed new products")
    parser.add_argument("--model-name", default="", metavar="NAME", help="what the model server calls the model (default: as pushed)")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="listen here (default 127.0.0.1: this machine only)")
    parser.add_argument("--port", type=port, default=8600, help="of gRPC (default 8600); 0: a free one")
    parser.add_argument("--rest-port", type=port, default=8601, metavar="PORT", help="of REST and metrics (default 8601); 0: a free one")
    parser.add_argument("--ssl-config-file", type=Path, metavar="FILE", help="TLS on both ports, as aisle serve takes it")
    parser.add_argument("--poll-seconds", type=seconds, default=1.0, metavar="S", help="look for another version (default 1; 0: never)")
    parser.add_argument("--max-k", type=positive, default=1_000, metavar="N", help="neighbours of one query (default 1000)")
    parser.add_argument("--max-message-bytes", type=positive, default=16_000_000, metavar="N", help="of one request (default 16000000)")
    parser.add_argument("--max-in-flight", type=positive, default=64, metavar="N", help="requests at a time; more are refused (default 64)")
    parser.add_argument("--timeout-seconds", type=seconds, default=10.0, metavar="S", help="a REST request may take (default 10)")
    parser.add_argument("--grace-seconds", type=seconds, default=30.0, metavar="S", help="requests have to end after a stop (default 30)")
    parser.add_argument(
        "--log-requests", choices=("all", "errors", "none"), default="all", help="which get a line in the log (default all)"
    )
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
    listen: dict[str, Any] = {
        "host": args.host,
        "port": args.port,
        "rest_port": args.rest_port,
        "ssl_config_file": args.ssl_config_file,
        "bounds": Bounds(max_k=args.max_k),
        "max_message_bytes": args.max_message_bytes,
        "max_in_flight": args.max_in_flight,
        "timeout_s": args.timeout_seconds,
        "grace_s": args.grace_seconds,
        "log_requests": args.log_requests,
    }
    own = (args.index, args.folder, args.model_server, args.shard, args.shard_rest)
    if args.route and (any(own) or are_settings_named(args)):
        raise SettingsError("--route asks other servers: --index, --config, --folder, --model-server and --shard are theirs.")
    if args.route:
        return RouterOptions(tuple(map(_shard_address, args.route)), **listen)
    if args.index and are_settings_named(args):
        raise SettingsError("say once what to serve: --index or --config.")
    if args.index and not args.folder:
        raise SettingsError("--index needs --folder, where the changes are kept.")
    settings = None if args.index else settings_of(args)
    return ServerOptions(
        folder=args.folder or Path(settings.run.root if settings else "") / _STATE,
        push_folder=Path(settings.push.folder) if settings else None,
        built=args.index,
        shard=Shard(tuple(args.shard), args.shard_rest) if args.shard or args.shard_rest else None,
        model_server=args.model_server,
        model_name=args.model_name,
        poll_s=args.poll_seconds,
        **listen,
    )


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
