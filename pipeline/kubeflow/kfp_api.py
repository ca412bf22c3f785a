"""Calls the API of Kubeflow Pipelines with bounded waits, and says in one line what went wrong."""

from __future__ import annotations

import functools
import http
import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kfp_server_api
import urllib3

from schemas.errors import SettingsError, SubmissionError

Row = dict[str, Any]

MAX_ANSWER_BYTES = 32 << 20
_MAX_PAGES, _PAGE_SIZE = 100, 100
_MAX_SAID_CHARS = 240
# What a gateway or a busy server says when it may well answer the next time.
_PASSING = (http.HTTPStatus.TOO_MANY_REQUESTS, 500, 502, 503, 504)


class ApiError(SubmissionError):
    """A request that wasn't answered as asked.

    Args:
        message: the whole line.
        status: HTTP status, 0 where there was none.
        sent: whether the server may have acted on the request.
        passing: whether the same request may succeed a moment later.
    """

    def __init__(self, message: str, status: int = 0, *, sent: bool = True, passing: bool = False) -> None:
        super().__init__(message)
        self.status, self.sent, self.passing = status, sent, passing


@dataclass(frozen=True)
class Access:
    """How the API is reached.

    Attributes:
        host: base URL, such as `https://kubeflow.example.com/pipeline`.
        token: a bearer token, or empty.
        token_file: file with a bearer token, read before each request, because clusters replace it while it is in use.
        cookie: value of the header `Cookie`, or empty.
        ca_file: PEM file of the authorities that TLS certificates are checked with; the usual ones without it.
        timeout_s: seconds a connection, and each wait for an answer, may take.
        attempts: how often a request that may be repeated is sent.
        pause_s: seconds before the first repetition; each later one waits twice as long.
    """

    host: str
    token: str = ""
    token_file: Path | None = None
    cookie: str = ""
    ca_file: Path | None = None
    timeout_s: float = 30.0
    attempts: int = 4
    pause_s: float = 1.0


class KfpApi:
    """The calls that submitting needs, each a row of JSON or an `ApiError`.

    Requests that change nothing, and creations whose name the server keeps unique, are repeated while the fault may pass; others
    only if they can't have arrived.

    Args:
        access: how the API is reached.
        sleep: waits that many seconds.

    Raises:
        SettingsError: the host isn't a URL, or a file of `access` can't be read.
    """

    def __init__(self, access: Access, sleep: Callable[[float], None] = time.sleep) -> None:
        self.host = checked_host(access.host)
        self._access, self._sleep = access, sleep
        client = kfp_server_api.ApiClient(_configuration(self.host, access), cookie=access.cookie or None)
        pool = client.rest_client.pool_manager
        # Repetitions are decided here, and a redirect is most often to a login page: the pool must do neither by itself.
        pool.urlopen = functools.partial(pool.urlopen, redirect=False, retries=urllib3.Retry(0))
        self._health = kfp_server_api.HealthzServiceApi(client)
        self._pipelines = kfp_server_api.PipelineServiceApi(client)
        self._uploads = kfp_server_api.PipelineUploadServiceApi(client)
        self._experiments = kfp_server_api.ExperimentServiceApi(client)
        self._runs = kfp_server_api.RunServiceApi(client)
        self._recurring = kfp_server_api.RecurringRunServiceApi(client)

    def has_many_users(self) -> bool:
        """Returns whether the installation keeps users apart by namespace.

        Raises:
            ApiError: no answer, or this isn't version 2 of the API.
        """
        try:
            return bool(self._call("ask for its health", self._health.get_healthz).get("multi_user"))
        except ApiError as error:
            if error.status != http.HTTPStatus.NOT_FOUND:
                raise
            raise ApiError(
                f"{self.host}: there is no Kubeflow Pipelines API v2beta1 here, found 404. Name the API's base URL, often ending in "
                "/pipeline, of Kubeflow Pipelines 2.0 or newer.",
                error.status,
            ) from None

    def find_pipeline(self, name: str, namespace: str) -> Row | None:
        """Returns the pipeline of that name."""
        return self._named("find the pipeline", "pipelines", name, self._pipelines.list_pipelines, **_space(namespace))

    def create_pipeline(self, name: str, description: str, namespace: str) -> Row:
        """Creates a pipeline without versions."""
        body = kfp_server_api.V2beta1Pipeline(display_name=name, description=description, namespace=namespace or None)
        return self._checked("create the pipeline", "pipeline_id", self._pipelines.create_pipeline, body, repeat=True)

    def find_version(self, pipeline_id: str, name: str) -> Row | None:
        """Returns the version of that name of a pipeline."""
        return self._named("find the version", "pipeline_versions", name, self._pipelines.list_pipeline_versions, pipeline_id)

    def upload_version(self, package: Path, pipeline_id: str, name: str, description: str) -> Row:
        """Uploads a compiled pipeline as a new version."""
        return self._checked(
            "upload the version",
            "pipeline_version_id",
            self._uploads.upload_pipeline_version,
            str(package),
            repeat=True,
            pipelineid=pipeline_id,
            name=name,
            description=description,
        )

    def find_experiment(self, name: str, namespace: str) -> Row | None:
        """Returns the experiment of that name."""
        return self._named("find the experiment", "experiments", name, self._experiments.list_experiments, **_space(namespace))

    def create_experiment(self, name: str, namespace: str) -> Row:
        """Creates an experiment."""
        body = kfp_server_api.V2beta1Experiment(display_name=name, namespace=namespace or None)
        return self._checked("create the experiment", "experiment_id", self._experiments.create_experiment, body, repeat=True)

    def find_runs(self, name: str, experiment_id: str) -> list[Row]:
        """Returns the runs of that name in an experiment."""
        return self._all_named("find the run", "runs", name, self._runs.list_runs, experiment_id=experiment_id)

    def create_run(self, body: Mapping[str, Any]) -> Row:
        """Starts a run."""
        return self._checked("start the run", "run_id", self._runs.create_run, dict(body))

    def run(self, run_id: str) -> Row:
        """Returns a run and how far it is."""
        return self._checked("look at the run", "run_id", self._runs.get_run, run_id, repeat=True)

    def find_recurring_runs(self, name: str, experiment_id: str) -> list[Row]:
        """Returns the recurring runs of that name in an experiment."""
        return self._all_named(
            "find the recurring run", "recurringRuns", name, self._recurring.list_recurring_runs, experiment_id=experiment_id
        )

    def create_recurring_run(self, body: Mapping[str, Any]) -> Row:
        """Creates a recurring run."""
        return self._checked("create the recurring run", "recurring_run_id", self._recurring.create_recurring_run, dict(body))

    def enable_recurring_run(self, recurring_run_id: str) -> None:
        """Lets a recurring run start runs."""
        self._call("enable the recurring run", self._recurring.enable_recurring_run, recurring_run_id, repeat=True)

    def delete_recurring_run(self, recurring_run_id: str) -> None:
        """Removes a recurring run, which may be gone already; the runs it started stay."""
        try:
            self._call("delete the recurring run", self._recurring.delete_recurring_run, recurring_run_id, repeat=True)
        except ApiError as error:
            if error.status != http.HTTPStatus.NOT_FOUND:
                raise

    def _named(self, what: str, key: str, name: str, method: Callable[..., Any], *arguments: str, **options: Any) -> Row | None:
        found = self._all_named(what, key, name, method, *arguments, **options)
        if len(found) > 1:
            raise ApiError(f"{self.host}: {len(found)} are named {name!r}, expected one ({what}). Remove all but one.")
        return found[0] if found else None

    def _all_named(self, what: str, key: str, name: str, method: Callable[..., Any], *arguments: str, **options: Any) -> list[Row]:
        wanted = json.dumps({"predicates": [{"operation": 1, "key": "display_name", "stringValue": name}]})  # 1 is EQUALS.
        found: list[Row] = []
        token = ""
        for _ in range(_MAX_PAGES):
            page = self._call(what, method, *arguments, repeat=True, filter=wanted, page_size=_PAGE_SIZE, page_token=token, **options)
            rows = page.get(key) or []
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise self._of_another_version(what, key)
            # The name is compared again: a server that doesn't know the filter lists everything.
            found += [row for row in rows if row.get("display_name") == name]
            token = page.get("next_page_token") or ""
            if not token:
                return found
        raise ApiError(f"{self.host}: the list never ended after {_MAX_PAGES} pages ({what}). Try again, or ask its owner.")

    def _checked(self, what: str, id_key: str, method: Callable[..., Any], *arguments: Any, repeat: bool = False, **options: Any) -> Row:
        row = self._call(what, method, *arguments, repeat=repeat, **options)
        if not isinstance(row.get(id_key), str) or not row[id_key]:
            raise self._of_another_version(what, id_key)
        return row

    def _of_another_version(self, what: str, key: str) -> ApiError:
        return ApiError(
            f"{self.host}: the answer has no usable {key!r} ({what}), so this is another version of the API than v2beta1. "
            "Use Kubeflow Pipelines 2.0 or newer."
        )

    def _call(self, what: str, method: Callable[..., Any], *arguments: Any, repeat: bool = True, **options: Any) -> Row:
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._answer(what, method, *arguments, **options)
            except ApiError as error:
                if attempt >= self._access.attempts or not error.passing or not (repeat or not error.sent):
                    raise
            self._sleep(self._access.pause_s * 2 ** (attempt - 1))

    def _answer(self, what: str, method: Callable[..., Any], *arguments: Any, **options: Any) -> Row:
        timeout_s = self._access.timeout_s
        try:
            response = method(*arguments, **options, _preload_content=False, _request_timeout=(timeout_s, timeout_s))
            content = response.read(MAX_ANSWER_BYTES + 1, decode_content=True)
            response.release_conn()
        except kfp_server_api.ApiException as error:
            raise self._refusal(what, int(error.status or 0), error.body or "", dict(error.headers or {})) from None
        except urllib3.exceptions.HTTPError as error:
            raise self._unanswered(what, error) from None
        except UnicodeDecodeError:  # The generated client decodes the text of an error itself.
            raise ApiError(f"{self.host}: refused to {what}, in bytes that aren't UTF-8. Is this the Kubeflow Pipelines API?") from None
        return self._read(what, content)

    def _read(self, what: str, content: bytes) -> Row:
        if len(content) > MAX_ANSWER_BYTES:
            raise ApiError(f"{self.host}: the answer is over {MAX_ANSWER_BYTES >> 20} MB ({what}). Is this the Kubeflow Pipelines API?")
        try:
            row = json.loads(content or b"{}")
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            return row
        if content.lstrip()[:1] == b"<":
            raise ApiError(
                f"{self.host}: answered with a web page ({what}), expected JSON. It is most often a login page: pass --token-file or "
                "--cookie-file, or another --host."
            )
        raise ApiError(f"{self.host}: answered {_said(content)!r} ({what}), expected a JSON object. Is this the Kubeflow Pipelines API?")

    def _refusal(self, what: str, status: int, body: str, headers: Mapping[str, str]) -> ApiError:
        said = _said_in(body)
        if 300 <= status < 400:
            place = _said(headers.get("location") or headers.get("Location") or "nowhere")
            return ApiError(
                f"{self.host}: is redirected to {place} ({what}). If that is a login page, pass --token-file or --cookie-file, else that "
                "address as --host.",
                status,
                sent=False,
            )
        if status == http.HTTPStatus.UNAUTHORIZED:
            return ApiError(
                f"{self.host}: refused to {what} (401): {said}. Pass a valid login: --token-file, --cookie-file or $AISLE_KFP_TOKEN.",
                status,
                sent=False,
            )
        if status == http.HTTPStatus.FORBIDDEN:
            return ApiError(
                f"{self.host}: refused to {what} (403): {said}. This login lacks the right; use another, or another --namespace.",
                status,
                sent=False,
            )
        passing = status in _PASSING
        way_out = "Start the same command again; if it stays so, ask its owner." if passing else "Change what it names, then start again."
        sent = status >= 500 or status == http.HTTPStatus.CONFLICT
        return ApiError(f"{self.host}: could not {what} ({status}): {said}. {way_out}", status, sent=sent, passing=passing)

    def _unanswered(self, what: str, error: urllib3.exceptions.HTTPError) -> ApiError:
        reason = getattr(error, "reason", None) or error
        cause = _said(str(reason).rpartition("connection: ")[2])
        if isinstance(reason, urllib3.exceptions.SSLError):
            return ApiError(
                f"{self.host}: its TLS certificate isn't trusted: {cause}. Pass the authority's certificate with --ca FILE.", sent=False
            )
        if isinstance(reason, urllib3.exceptions.ConnectTimeoutError):  # Refused and unknown hosts are of this kind, too.
            return ApiError(f"{self.host}: can't be reached: {cause}. Check --host and the network.", sent=False, passing=True)
        timed_out = isinstance(reason, urllib3.exceptions.ReadTimeoutError)
        cause = f"no answer within {self._access.timeout_s:g} s" if timed_out else "the connection broke before an answer came"
        return ApiError(
            f"{self.host}: {cause} ({what}). Start the same command again; if it stays so, ask its owner, or pass a longer --timeout.",
            passing=True,
        )


def checked_host(host: str) -> str:
    """Returns a base URL without a slash at its end.

    >>> checked_host("https://kubeflow.example.com/pipeline/")
    'https://kubeflow.example.com/pipeline'

    Raises:
        SettingsError: it isn't an http or https URL, or holds a login.
    """
    try:
        parts = urllib.parse.urlsplit(host)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or any(character.isspace() for character in host):
        raise SettingsError(f"--host {host!r} isn't a URL. Name one such as https://kubeflow.example.com/pipeline.")
    if "@" in parts.netloc:
        raise SettingsError("--host has a login in it, which logs would show. Pass --token-file or --cookie-file instead.")
    if parts.query or parts.fragment:
        raise SettingsError(f"--host {host!r} has more than a path. Name a base URL such as https://kubeflow.example.com/pipeline.")
    return host.rstrip("/")


def secret_of(path: Path, option: str) -> str:
    """Returns the one line of a file with a token or cookie.

    Raises:
        SettingsError: it can't be read, or isn't one line of printable ASCII. Never says what is in it.
    """
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it isn't ASCII text"
        raise SettingsError(f"{option} {path}: can't be read: {reason}. Name a file with one line.") from None
    return checked_secret(text, f"{option} {path}")


def checked_secret(text: str, where: str) -> str:
    """Returns a token or cookie that fits into one header.

    Raises:
        SettingsError: it is empty or has other than printable ASCII characters. Never says what is in it.
    """
    if not text or not text.isascii() or not text.isprintable():
        raise SettingsError(f"{where}: expected one line of printable ASCII text. Write the token or cookie there again.")
    return text


def _configuration(host: str, access: Access) -> kfp_server_api.Configuration:
    configuration = kfp_server_api.Configuration(host=host)
    configuration.proxy = _proxy_of(host)
    if access.ca_file is not None:
        if not access.ca_file.is_file():
            raise SettingsError(f"--ca {access.ca_file}: there is no such file. Name a PEM file of trusted certificates.")
        configuration.ssl_ca_cert = str(access.ca_file)
    if access.token_file is not None:
        token_file = access.token_file
        secret_of(token_file, "--token-file")
        configuration.api_key["authorization"] = "read before each request"
        configuration.refresh_api_key_hook = lambda it: it.api_key.update(authorization=secret_of(token_file, "--token-file"))
    elif access.token:
        configuration.api_key["authorization"] = access.token
    configuration.api_key_prefix["authorization"] = "Bearer"
    return configuration


def _proxy_of(host: str) -> str | None:
    """Returns the proxy that the environment names for a host, as other programs understand it."""
    parts = urllib.parse.urlsplit(host)
    proxies = urllib.request.getproxies_environment()
    name = parts.hostname or ""
    if name in ("localhost", "127.0.0.1") or urllib.request.proxy_bypass_environment(name):  # type: ignore[attr-defined]
        return None
    return proxies.get(parts.scheme)


def _space(namespace: str) -> dict[str, str]:
    return {"namespace": namespace} if namespace else {}


def _said_in(body: str) -> str:
    """Returns the message of an error in any of the API's shapes, or the start of the text."""
    try:
        row = json.loads(body)
    except (ValueError, RecursionError):
        row = None
    for key in ("error_message", "message", "error"):
        if isinstance(row, dict) and isinstance(row.get(key), str) and row[key]:
            return _said(row[key])
    return _said("a web page" if body.lstrip().startswith("<") else body) or "no reason given"


def _said(text: str | bytes) -> str:
    """Returns what a server said, cut and on one line: what it sends mustn't steer a terminal or fill a log."""
    decoded = text[: 4 * _MAX_SAID_CHARS].decode("utf-8", errors="replace") if isinstance(text, bytes) else text[: 4 * _MAX_SAID_CHARS]
    line = " ".join("".join(character if character.isprintable() else " " for character in decoded).split())
    return (line if len(line) <= _MAX_SAID_CHARS else line[:_MAX_SAID_CHARS] + " ...").rstrip(".")
