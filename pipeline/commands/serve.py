"""Answers over TensorFlow Serving's gRPC and REST protocol until it is stopped: the verb `aisle serve`."""

import pipeline.quiet  # noqa: F401, I001 - must come before TensorFlow

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from pipeline.commands.options import add_settings, settings_of, write_line, write_note
from pipeline.commands.server_options import add_options, laid_over
from pipeline.commands.until_stopped import serve_until_stopped
from pipeline.inputs import live_pair
from schemas.errors import PushError, SettingsError
from schemas.settings import ServingSettings, Settings
from serving.request_log import log_to

EPILOG = """examples:
  aisle serve --config demo/aisle.yaml
  aisle serve --config demo/aisle.yaml --set serving.max_in_flight=128 --port 9000
  aisle serve --model-base-path release/models/demo --port 0 --rest-api-port 0
  aisle serve --model-config-file models.config --enable-batching --batching-parameters-file batching.config
  curl http://127.0.0.1:8501/v1/models/demo
  curl -d '{"signature_name": "predict_products", "inputs": {...}}' http://127.0.0.1:8501/v1/models/demo:predict

Options and files are those of tensorflow_model_server, with - or _ between words. Each is a setting of the section `serving`, too,
and wins over it. Without --model-base-path and --model-config-file it serves what the run of --config made live, and follows new
versions and rollbacks. Addresses go to
standard output, one line of JSON a request to standard error. Ctrl-C or SIGTERM: requests that are being answered end first."""
_METAVARS = {
    "model_base_path": "DIR",
    "model_name": "NAME",
    "model_config_file": "FILE",
    "model_config_file_poll_wait_seconds": "S",
    "model_root": "DIR",
    "host": "ADDRESS",
    "rest_api_port": "PORT",
    "rest_api_timeout_in_ms": "MS",
    "file_system_poll_wait_seconds": "S",
    "batching_parameters_file": "FILE",
    "ssl_config_file": "FILE",
    "monitoring_config_file": "FILE",
    "grace_seconds": "S",
    **dict.fromkeys(("max_num_load_retries", "load_retry_interval_micros", "max_message_bytes", "max_answer_bytes"), "N"),
    **dict.fromkeys(("tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism"), "N"),
    **dict.fromkeys(("max_in_flight", "max_body_bytes", "max_connections"), "N"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add_settings(parser)
    add_options(parser, ServingSettings, _METAVARS)
    parser.add_argument("--json", action="store_true", help="write the addresses and models as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Serves until a signal and returns the exit code.

    Raises:
        AisleError: wrong options or files, nothing is live, a model that can't be loaded, or a port that is taken.
    """
    settings = settings_of(args)
    serving = laid_over(settings.serving, args)
    name, base_path = _one_model(args, settings, serving)
    # TensorFlow takes seconds to load, so all that can be wrong without it comes before.
    write_note("loading ...")
    server = _server(serving, name, base_path)
    return serve_until_stopped(server, lambda: _say(server, args.json))


def _one_model(args: argparse.Namespace, settings: Settings, serving: ServingSettings) -> tuple[str, Path | None]:
    """Returns name and folder of the one model to serve; no folder: a file says what. What options name comes before what settings do."""
    if args.model_base_path and args.model_config_file:
        raise SettingsError("say once what to serve: --model-base-path or --model-config-file.")
    is_by_option = bool(args.model_base_path or args.model_config_file)
    base_path = args.model_base_path if is_by_option else serving.model_base_path
    config_file = args.model_config_file if is_by_option else serving.model_config_file
    if base_path and config_file:
        raise SettingsError("say once what to serve: serving.model_base_path or serving.model_config_file.")
    if config_file:
        if args.model_name:
            raise SettingsError(
                f"{config_file}: a configuration file names the models itself. Put the name there, and leave out --model-name."
            )
        return "", None
    if base_path:
        folder = Path(base_path).absolute()
        return serving.model_name or folder.name, folder
    live = live_pair(settings)
    if live is None:
        raise PushError(f"{settings.push.folder}: nothing is live here. Run until a model is blessed: aisle run.")
    return serving.model_name or live.name, live.model.absolute().parent


def _server(serving: ServingSettings, name: str, base_path: Path | None) -> Any:
    module = importlib.import_module("serving.model_server.server")
    log_to(sys.stderr)
    options = module.ServerOptions(
        model_config_file=None if base_path else _file(serving.model_config_file),
        models=(module.ModelConfig(name, base_path),) if base_path else (),
        host=serving.host,
        port=serving.port,
        rest_api_port=serving.rest_api_port,
        model_roots=tuple(Path(root).absolute() for root in serving.model_root),
        file_system_poll_wait_seconds=serving.file_system_poll_wait_seconds,
        model_config_file_poll_wait_seconds=serving.model_config_file_poll_wait_seconds,
        max_num_load_retries=serving.max_num_load_retries,
        load_retry_interval_micros=serving.load_retry_interval_micros,
        enable_batching=serving.enable_batching,
        batching_parameters_file=_file(serving.batching_parameters_file),
        ssl_config_file=_file(serving.ssl_config_file),
        monitoring_config_file=_file(serving.monitoring_config_file),
        tensorflow_intra_op_parallelism=serving.tensorflow_intra_op_parallelism,
        tensorflow_inter_op_parallelism=serving.tensorflow_inter_op_parallelism,
        rest_api_timeout_in_ms=serving.rest_api_timeout_in_ms,
        max_message_bytes=serving.max_message_bytes,
        max_answer_bytes=serving.max_answer_bytes,
        max_in_flight=serving.max_in_flight,
        max_body_bytes=serving.max_body_bytes,
        max_connections=serving.max_connections,
        grace_s=serving.grace_seconds,
        log_requests=serving.log_requests,
    )
    return module.ModelServer(options)


def _file(path: str) -> Path | None:
    return Path(path) if path else None


def _say(server: Any, is_json: bool) -> None:
    models = server.models.served()
    if is_json:
        write_line(json.dumps({"grpc": server.grpc_address, "rest": server.rest_address, "models": models}))
    else:
        for name, versions in models.items():
            write_line(f"serving {name}, version {', '.join(map(str, versions))}")
        write_line(f"gRPC {server.grpc_address}")
        write_line(f"REST {server.rest_address}/v1/models/")
