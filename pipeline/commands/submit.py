"""Submits the pipeline to Kubeflow, as a run or on a schedule, and follows it if asked: the verb `aisle submit`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from pipeline.commands.options import add_settings, are_settings_named, settings_of, write_line, write_note
from pipeline.interrupts import signals_as_interrupts
from pipeline.kubeflow.kfp_api import Access, KfpApi, checked_host, checked_secret, secret_of
from pipeline.kubeflow.package import Package, package_of, read_package, reading_anew
from pipeline.kubeflow.parameters import PARAMETERS, parameter_values, unknown_values
from pipeline.kubeflow.submission import SUCCEEDED, Request, Submission, check_parameters, submit
from pipeline.kubeflow.waiting import Follower
from schemas.errors import SettingsError, SubmissionError

EPILOG = """examples:
  aisle submit --config configs/kubeflow.yaml --host https://kubeflow.example.com/pipeline --image registry.example.com/aisle/steps:TAG
  aisle submit --config configs/kubeflow.yaml --host URL --image IMAGE --run-name build-417 --wait
  aisle submit --config configs/kubeflow.yaml --host URL --image IMAGE --every "0 0 4 * * *"
  aisle submit --package pipeline.yaml --host URL --dry-run

The pipeline and the experiment are created when missing. A version is named by its content, so the same content is uploaded once.
With --run-name, a run of that name that is under way or succeeded is not started again; without, each call starts a run. With
--every there is one recurring run of that name afterwards, whatever was there before. A submission that failed half-way says what
exists already; the same command goes on from there.

The login is never an option: $AISLE_KFP_TOKEN or --token-file for a bearer token, $AISLE_KFP_COOKIE or --cookie-file for a session.
$AISLE_KFP_HOST stands for --host. With --wait the exit code is 0 only if the run succeeded; Ctrl-C stops waiting, not the run."""
HOST, TOKEN, COOKIE = "AISLE_KFP_HOST", "AISLE_KFP_TOKEN", "AISLE_KFP_COOKIE"
_SCHEDULED_TIME = "[[ScheduledTime]]"  # Some releases of Kubeflow fill it in; for the others see `reading_anew`.
_CRON = re.compile(
    r"@(yearly|annually|monthly|weekly|daily|midnight|hourly)|@every [0-9hms.]{2,20}|[0-9A-Za-z*/,?-]+( [0-9A-Za-z*/,?-]+){4,5}"
)
_MAX_NAME_CHARS = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add_settings(parser)
    what = parser.add_argument_group("what is submitted")
    what.add_argument("--package", type=Path, metavar="FILE", help="a pipeline that aisle compile wrote, instead of compiling --config")
    what.add_argument("--image", default="", help="image of every step, as make image prints it; default: kubeflow.image")
    what.add_argument("--root", default="", metavar="URI", help="where artifacts go, as in s3://bucket/aisle; default: kubeflow.root")
    what.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", dest="parameters", help="value of a parameter; may be repeated"
    )

    how = parser.add_argument_group("how it runs")
    how.add_argument("--experiment", default="", metavar="NAME", help="default: the pipeline's name")
    how.add_argument("--run-name", default="", metavar="NAME", help="of the run, or of the recurring run")
    when = how.add_mutually_exclusive_group()
    when.add_argument("--once", action="store_true", help="start one run now (the default)")
    when.add_argument("--every", type=cron, metavar="CRON", help="start runs on a schedule: five fields, six with seconds, or @daily")
    how.add_argument("--namespace", default="", help="yours, where the installation keeps users apart")
    how.add_argument("--service-account", default="", metavar="NAME", help="that steps run as; default: the installation's own")
    how.add_argument("--wait", action="store_true", help="follow the run to its end")
    how.add_argument("--dry-run", action="store_true", help="only say what would be created; without --host look at nothing")

    where = parser.add_argument_group("where to")
    where.add_argument("--host", default=os.environ.get(HOST, ""), metavar="URL", help="base URL of the Kubeflow Pipelines API")
    where.add_argument("--ui", default="", metavar="URL", help="base URL of its web pages; default: --host")
    where.add_argument("--token-file", type=Path, metavar="FILE", help="bearer token, read again before each request")
    where.add_argument("--cookie-file", type=Path, metavar="FILE", help="value of the header Cookie")
    where.add_argument("--ca", type=Path, metavar="FILE", help="PEM file of the authorities to trust")
    where.add_argument("--timeout", type=seconds, default=30.0, metavar="SECONDS", help="for each answer (default 30)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Submits, and returns the exit code.

    Raises:
        SettingsError: wrong settings or options, or no host.
        SubmissionError: the server can't be reached, refuses, or the run failed.
    """
    _check_options(args)
    api = KfpApi(_access(args)) if args.host else None  # A wrong login file is refused before seconds of compiling.
    package = reading_anew(_package(args), PARAMETERS) if args.every else _package(args)
    request = _request(args, package)
    check_parameters(package, request.parameters)
    if api is None:
        return _told_package(args, package)
    ui = checked_host(args.ui) if args.ui else api.host
    submission = submit(api, request, ui, write_note, args.dry_run)
    if not args.wait or args.dry_run:
        _tell(args, request, submission)
        return 0
    write_note(f"waiting for {submission.url}")
    with signals_as_interrupts():
        return _wait(args, api, request, submission)


def _check_options(args: argparse.Namespace) -> None:
    if not args.host and not args.dry_run:
        raise SettingsError(f"no host is named. Pass --host URL or set ${HOST}; --dry-run needs none.")
    if args.wait and args.every:
        raise SettingsError("--wait follows one run, and --every starts many. Leave one of them out.")
    if args.package and args.image:
        raise SettingsError("--image is compiled in, so it can't change a --package. Compile again: aisle compile --image IMAGE.")
    if not args.package and not are_settings_named(args):
        raise SettingsError("nothing to submit is named. Pass --config FILE, or --package FILE.")
    for option, text in (("--run-name", args.run_name), ("--experiment", args.experiment)):
        if len(text) > _MAX_NAME_CHARS or not text.isprintable():
            raise SettingsError(f"{option} {text[:40]!r}: expected at most {_MAX_NAME_CHARS} printable characters.")


def _access(args: argparse.Namespace) -> Access:
    cookie = secret_of(args.cookie_file, "--cookie-file") if args.cookie_file else os.environ.get(COOKIE, "")
    token = os.environ.get(TOKEN, "")
    for text, where in ((cookie, f"${COOKIE}"), (token, f"${TOKEN}")):
        if text:
            checked_secret(text, where)
    return Access(host=args.host, token=token, token_file=args.token_file, cookie=cookie, ca_file=args.ca, timeout_s=args.timeout)


def _package(args: argparse.Namespace) -> Package:
    if args.package:
        return read_package(args.package)
    settings = settings_of(args)
    write_note("compiling ...")
    # TFX takes seconds to load, and a package needs none of it.
    compiler = importlib.import_module("pipeline.kubeflow.compiler")
    return package_of(compiler.compile_pipeline(settings, image=args.image, root=args.root), str(args.config or "the settings"))


def _request(args: argparse.Namespace, package: Package) -> Request:
    moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    name = args.run_name or (package.name if args.every else f"{package.name}-{moment}")
    return Request(
        package=package,
        experiment=args.experiment or package.name,
        run_name=name,
        reuse_run=bool(args.run_name),
        cron=args.every or "",
        parameters={**_inputs(args, package), **_given(args.parameters)},
        root=args.root,
        namespace=args.namespace,
        service_account=args.service_account,
    )


def _inputs(args: argparse.Namespace, package: Package) -> dict[str, str]:
    """Returns what tells Kubeflow's cache whether inputs changed, of those the pipeline asks for."""
    if args.every:
        values = unknown_values(_SCHEDULED_TIME)
    elif are_settings_named(args):
        values = parameter_values(settings_of(args), _never_used_before())
    else:
        values = unknown_values(_never_used_before())
    return {name: values[name] for name in PARAMETERS if name in package.parameters}


def _never_used_before() -> str:
    return f"{time.time_ns()}-{os.urandom(4).hex()}"


def _given(words: list[str]) -> dict[str, str]:
    given = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise SettingsError(f"--param {word!r} isn't NAME=VALUE.")
        given[name] = value
    return given


def _told_package(args: argparse.Namespace, package: Package) -> int:
    row = {"pipeline": package.name, "version": package.version, "bytes": len(package.text), "parameters": sorted(package.parameters)}
    if args.json:
        write_line(json.dumps(row))
    else:
        write_line(f"pipeline {package.name}, version {package.version}; nothing was sent, because no --host is named")
    return 0


def _tell(args: argparse.Namespace, request: Request, submission: Submission, **more: str) -> None:
    if args.json:
        row: Mapping[str, object] = {"things": [asdict(thing) for thing in submission.things], "url": submission.url, **more}
        write_line(json.dumps(row, ensure_ascii=False))
        return
    for thing in submission.things:
        write_line("  ".join(part for part in (f"{thing.kind:<13}", f"{thing.state:<16}", thing.name, thing.id) if part))
    if request.cron:
        write_line(f"schedule       {request.cron}")
    write_line(f"url            {submission.url}")


def _wait(args: argparse.Namespace, api: KfpApi, request: Request, submission: Submission) -> int:
    try:
        ending = Follower(api, write_note).follow(submission.id_of("run"))
    except KeyboardInterrupt:
        write_note(
            f"stopped waiting; the run goes on: {submission.url}. Wait again with the same command and --run-name {request.run_name}"
        )
        _tell(args, request, submission, state="RUNNING")
        return 130
    except SubmissionError as error:
        raise SubmissionError(f"{error} The run goes on: {submission.url}") from None
    _tell(args, request, submission, state=ending.state)
    if ending.state == SUCCEEDED:
        return 0
    write_note(f"error: run {request.run_name} ended {ending.state}: {ending.reason}. Its logs are at {submission.url}")
    return 1


def cron(text: str) -> str:
    """Returns a cron expression as Kubeflow wants it, seconds first, for argparse.

    >>> cron("30 4 * * *")
    '0 30 4 * * *'
    """
    words = " ".join(text.split())
    if len(words) > _MAX_NAME_CHARS or not _CRON.fullmatch(words):
        raise argparse.ArgumentTypeError(f"{text!r} isn't a schedule such as '30 4 * * *', '0 30 4 * * *' or '@daily'")
    return f"0 {words}" if len(words.split()) == 5 and not words.startswith("@") else words


def seconds(text: str) -> float:
    """Reads seconds above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value <= 3600.0:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a number of seconds above 0 and up to 3600")
    return value
