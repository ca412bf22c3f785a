"""Runs a planned round in this process with TFX's local runner, and reports each stage: `python -m pipeline.local_run`."""

import pipeline.quiet  # noqa: F401, I001 - must come before TensorFlow

import argparse
import contextlib
import hashlib
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import tensorflow as tf
from absl import logging as absl_logging
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.portable import launcher

from pipeline import content_cache, events
from pipeline.causes import find_cause
from pipeline.create_pipeline import create_pipeline
from pipeline.plan import RunPlan, read_plan
from pipeline.results import collect_results, latest_artifacts
from pipeline.root_state import clear_unfinished
from schemas.features import features_from_json
from trainer_module.zoo.registry import family

_SCHEMA = Path(__file__).resolve().parents[1] / "schemas" / "products.pbtxt"
# Only our own loggers tell what a stage did; their last line of a stage is shown beside its time.
_OURS = ("components", "encoders", "trainer_module", "similarity", "stores")


def write_schema(plan: RunPlan, folder: Path) -> Path:
    """Writes the curated schema plus the vector fields that the feature config names, and returns the file.

    Its name holds a digest of its content, because the cache looks at an imported file's path alone.
    """
    schema = text_format.Parse(_SCHEMA.read_text(encoding="utf-8"), schema_pb2.Schema())
    for name in features_from_json(plan.features).dense_fields:
        schema.feature.add(name=name, type=schema_pb2.FLOAT)
    text = text_format.MessageToString(schema)
    path = folder / f"products-{hashlib.sha256(text.encode()).hexdigest()[:16]}.pbtxt"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


class _DetailHandler(logging.Handler):
    """Passes our stages' log lines on as events."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(logging.INFO)
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        events.send(self._stream, events.DETAIL, message=record.getMessage())


def _configure_logging(stream: TextIO) -> None:
    absl_logging.set_verbosity(absl_logging.ERROR)
    absl_logging.set_stderrthreshold("error")
    tf.get_logger().setLevel("ERROR")
    tf.autograph.set_verbosity(0)
    plain = logging.StreamHandler(sys.stderr)
    plain.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    detail = _DetailHandler(stream)
    for name in _OURS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.handlers = [plain, detail]


class _ReportingLauncher(launcher.Launcher):
    """TFX's launcher, which says when a stage starts, ends, or came from the cache, and digests what a stage made."""

    stream: TextIO = sys.stdout
    _executed = False

    def launch(self) -> Any:
        name, started = self._pipeline_node.node_info.id, time.monotonic()
        events.send(self.stream, events.STAGE, name=name)
        type(self)._executed = False
        found = super().launch()
        events.send(self.stream, events.DONE, name=name, seconds=round(time.monotonic() - started, 2), cached=not self._executed)
        return found

    def _run_executor(self, execution_info: Any) -> Any:  # Only called on a cache miss.
        type(self)._executed = True
        return super()._run_executor(execution_info)

    def _publish_successful_execution(self, execution_id: int, contexts: Any, output_dict: Any, executor_output: Any) -> None:
        # An executor's own copies of the artifacts win over the launcher's, so both get the digest.
        theirs = executor_output.output_artifacts.values() if executor_output else ()
        copies = [artifact for found in theirs for artifact in found.artifacts]
        content_cache.add_digests([*(artifact.mlmd_artifact for found in output_dict.values() for artifact in found), *copies])
        super()._publish_successful_execution(execution_id, contexts, output_dict, executor_output)


@contextlib.contextmanager
def our_launcher(stream: TextIO) -> Iterator[None]:
    """Puts our launcher and our cache in the place of TFX's for a while, because the local runner offers no hook for either."""
    theirs = launcher.Launcher, launcher.cache_utils
    _ReportingLauncher.stream = stream
    launcher.Launcher, launcher.cache_utils = _ReportingLauncher, content_cache
    try:
        yield
    finally:
        launcher.Launcher, launcher.cache_utils = theirs


def run_plan(plan: RunPlan, stream: TextIO, until: str = "") -> dict[str, Any]:
    """Runs every stage and returns the results, as `aisle run --json` prints them; up to a stage, `paths` of artifacts alone.

    Raises:
        AisleError: a stage refused its input.
    """
    for name in (plan.settings["model"]["family"], *plan.settings["model"]["compare_with"]):
        family(name)  # An unknown one is refused now, not when training starts.
    root = Path(plan.settings["run"]["root"])
    schema_file = write_schema(plan, root / "inputs")
    composed = create_pipeline(plan, schema_file, until=until)
    events.send(stream, events.PLAN, stages=[component.id for component in composed.components])
    clear_unfinished(root)
    with our_launcher(stream):
        LocalDagRunner().run(composed)
    if until:
        return {"paths": {name: str(artifact.uri) for name, artifact in latest_artifacts(root).items()}}
    return collect_results(root, plan)


def _end_with_parent() -> None:
    """Ends this process and what it started when the program that started it is gone, however it went."""
    sys.stdin.buffer.read()
    os.killpg(os.getpgid(0), signal.SIGKILL)


def main() -> int:
    """Runs the plan named on the command line; events go to standard output, logs to standard error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--end-with-parent", action="store_true", help="end, with all that was started, when standard input ends")
    parser.add_argument("--until", default="", metavar="STAGE", help="the last stage to run")
    arguments = parser.parse_args()
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # Whatever a library prints belongs in the log.
    _configure_logging(stream)
    if arguments.end_with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    plan = read_plan(arguments.plan)
    try:
        results = run_plan(plan, stream, arguments.until)
    except Exception as error:
        with contextlib.suppress(OSError):  # A full disk has no room for the log either.
            traceback.print_exc()
        cause = find_cause(error, Path(plan.settings["run"]["root"]))
        message = str(cause) if cause else f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        events.send(stream, events.ERROR, message=message, ours=cause is not None, exit_code=cause.exit_code if cause else 1)
        return 1
    events.send(stream, events.RESULT, results=results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
