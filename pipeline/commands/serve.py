"""Answers over TensorFlow Serving's gRPC and REST protocol until it is stopped: the verb `aisle serve`."""

import pipeline.quiet  # noqa: F401, I001 - must come before TensorFlow

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from pipeline.commands.options import add_settings, are_settings_named, positive, settings_of, write_line, write_note
from pipeline.commands.until_stopped import port, serve_until_stopped
from pipeline.inputs import live_pair
from schemas.errors import PushError, SettingsError
from serving.request_log import log_to

EPILOG = """examples:
  aisle serve --config demo/aisle.yaml
  aisle serve --model-base-path release/models/demo --port 0 --rest-api-port 0
  aisle serve --model-config-file models.config --enable-batching --batching-parameters-file batching.config
  curl http://127.0.0.1:8501/v1/models/demo
  curl -d '{"signature_name": "predict_products", "inputs": {...}}' http://127.0.0.1:8501/v1/models/demo:predict

Options and files are those of tensorflow_model_server, with - or _ between words. Without --model-base-path and
--model-config-file it serves what the run of --config made live, and follows new versions and rollbacks. Addresses go to
standard output, one line of JSON a request to standard error. Ctrl-C or SIGTERM: requests that are being answered end first."""
_SHARES = ("all", "errors", "none")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add_settings(parser)
    _add(parser, "model-base-path", type=Path, metavar="DIR", help="folder of one model's version folders")
    _add(parser, "model-name", metavar="NAME", help="what requests call it (default: the name of DIR)")
    _add(parser, "model-config-file", type=Path, metavar="FILE", help="ModelServerConfig in text format: models, version policies, labels")
    _add(parser, "model-config-file-poll-wait-seconds", type=float, default=0.0, metavar="S", help="look at it again (default 0: never)")
    _add(parser, "model-root", type=Path, action="append", default=[], metavar="DIR", help="a reload may load models from here, too")
    _add(parser, "host", default="127.0.0.1", metavar="ADDRESS", help="listen here (default 127.0.0.1: this machine only)")
    _add(parser, "port", type=port, default=8500, help="of gRPC (default 8500); 0: a free one")
    _add(parser, "rest-api-port", type=port, default=8501, metavar="PORT", help="of REST and metrics (default 8501); 0: a free one")
    _add(parser, "rest-api-timeout-in-ms", type=positive, default=30_000, metavar="MS", help="a REST request may wait (default 30000)")
    _add(parser, "file-system-poll-wait-seconds", type=float, default=1.0, metavar="S", help="look for versions (default 1; 0: never)")
    _add(parser, "max-num-load-retries", type=int, default=5, metavar="N", help="of a version that can't be loaded (default 5)")
    _add(parser, "load-retry-interval-micros", type=int, default=60_000_000, metavar="N", help="between two of them (default 60000000)")
    _add(parser, "enable-batching", type=_flag, nargs="?", const=True, default=False, metavar="BOOL", help="run rows of requests together")
    _add(parser, "batching-parameters-file", type=Path, metavar="FILE", help="how: max_batch_size, batch_timeout_micros and so on")
    _add(parser, "ssl-config-file", type=Path, metavar="FILE", help="TLS on both ports: server_key, server_cert, custom_ca, client_verify")
    _add(parser, "monitoring-config-file", type=Path, metavar="FILE", help="whether and where Prometheus finds metrics")
    _add(parser, "tensorflow-intra-op-parallelism", type=int, default=0, metavar="N", help="threads of one operation (default: all cores)")
    _add(parser, "tensorflow-inter-op-parallelism", type=int, default=0, metavar="N", help="operations at a time (default: all cores)")
    _add(parser, "max-message-bytes", type=positive, default=64_000_000, metavar="N", help="of one request (default 64000000)")
    _add(parser, "max-answer-bytes", type=positive, default=64_000_000, metavar="N", help="of one answer, about (default 64000000)")
    _add(parser, "max-in-flight", type=positive, default=64, metavar="N", help="requests answered at a time; more are refused (default 64)")
    _add(
        parser,
        "max-body-bytes",
        type=positive,
        default=512_000_000,
        metavar="N",
        help="of open REST requests, together (default 512000000)",
    )
    _add(parser, "max-connections", type=positive, default=512, metavar="N", help="of REST, open at a time; more are refused (default 512)")
    _add(parser, "grace-seconds", type=float, default=30.0, metavar="S", help="requests have to end after a stop (default 30)")
    _add(parser, "log-requests", choices=_SHARES, default="all", help="which requests get a line in the log (default all)")
    parser.add_argument("--json", action="store_true", help="write the addresses and models as one JSON object")


def _add(parser: argparse.ArgumentParser, name: str, **options: Any) -> None:
    spellings = [f"--{name}"] + [f"--{name.replace('-', '_')}"] * ("-" in name)
    parser.add_argument(*spellings, **options)


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} isn't true or false")
    return text == "true"


def run(args: argparse.Namespace) -> int:
    """Serves until a signal and returns the exit code.

    Raises:
        AisleError: wrong options or files, nothing is live, a model that can't be loaded, or a port that is taken.
    """
    name, base_path = _one_model(args)
    # TensorFlow takes seconds to load, so all that can be wrong without it comes before.
    write_note("loading ...")
    server = _server(args, name, base_path)
    return serve_until_stopped(server, lambda: _say(server, args.json))


def _one_model(args: argparse.Namespace) -> tuple[str, Path | None]:
    named = [bool(args.model_base_path), bool(args.model_config_file)]
    if all(named) or (any(named) and are_settings_named(args)):
        raise SettingsError("say once what to serve: --model-base-path, --model-config-file or --config.")
    if args.model_config_file:
        return "", None
    if args.model_base_path:
        base_path = args.model_base_path.absolute()
        return args.model_name or base_path.name, base_path
    settings = settings_of(args)
    live = live_pair(settings)
    if live is None:
        raise PushError(f"{settings.push.folder}: nothing is live here. Run until a model is blessed: aisle run.")
    return args.model_name or live.name, live.model.absolute().parent


def _server(args: argparse.Namespace, name: str, base_path: Path | None) -> Any:
    module = importlib.import_module("serving.model_server.server")
    log_to(sys.stderr)
    options = module.ServerOptions(
        model_config_file=args.model_config_file,
        models=(module.ModelConfig(name, base_path),) if base_path else (),
        host=args.host,
        port=args.port,
        rest_api_port=args.rest_api_port,
        model_roots=tuple(root.absolute() for root in args.model_root),
        file_system_poll_wait_seconds=args.file_system_poll_wait_seconds,
        model_config_file_poll_wait_seconds=args.model_config_file_poll_wait_seconds,
        max_num_load_retries=args.max_num_load_retries,
        load_retry_interval_micros=args.load_retry_interval_micros,
        enable_batching=args.enable_batching,
        batching_parameters_file=args.batching_parameters_file,
        ssl_config_file=args.ssl_config_file,
        monitoring_config_file=args.monitoring_config_file,
        tensorflow_intra_op_parallelism=args.tensorflow_intra_op_parallelism,
        tensorflow_inter_op_parallelism=args.tensorflow_inter_op_parallelism,
        rest_api_timeout_in_ms=args.rest_api_timeout_in_ms,
        max_message_bytes=args.max_message_bytes,
        max_answer_bytes=args.max_answer_bytes,
        max_in_flight=args.max_in_flight,
        max_body_bytes=args.max_body_bytes,
        max_connections=args.max_connections,
        grace_s=args.grace_seconds,
        log_requests=args.log_requests,
    )
    return module.ModelServer(options)


def _say(server: Any, is_json: bool) -> None:
    models = server.models.served()
    if is_json:
        write_line(json.dumps({"grpc": server.grpc_address, "rest": server.rest_address, "models": models}))
    else:
        for name, versions in models.items():
            write_line(f"serving {name}, version {', '.join(map(str, versions))}")
        write_line(f"gRPC {server.grpc_address}")
        write_line(f"REST {server.rest_address}/v1/models/")
