"""Stands in for the API server of Kubeflow Pipelines, over real HTTP: the part of v2beta1 that `aisle submit` uses.

The real server needs a cluster and images that can't be had in a test. This one keeps state, refuses what the real one refuses
(unknown ids, names taken, wrong content types, unreadable packages, missing parameters, cron expressions without seconds), and can
be told to fail.
"""

from __future__ import annotations

import email.parser
import email.policy
import json
import re
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

Row = dict[str, Any]


class Refusal(Exception):
    """A request the server turns down."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Fault:
    """What goes wrong with one request.

    Attributes:
        kind: `status`, `drop` (the connection closes without an answer), `hang`, `garbage`, `html`, `redirect`, `empty` (an object
            without what was asked for) or `endless` (more bytes than a client should take).
        status: for `status`.
        acted: whether the server did what was asked before it failed, so that only the answer is lost.
    """

    kind: str
    status: int = 500
    acted: bool = False


@dataclass
class KfpStandIn:
    """The state of the server, open to tests.

    Attributes:
        many_users: whether it keeps users apart by namespace.
        token, cookie: what a request must carry, if anything.
        api_version: another one than v2beta1 answers 404 to it.
        faults: by the number of a request since the start, or by `(method, part of the path)`; the latter is used up.
        states: what a run's state is at each look, the last one for good.
        requests: method and path of each one, in order.
    """

    many_users: bool = False
    token: str = ""
    cookie: str = ""
    api_version: str = "v2beta1"
    page_size: int = 2
    faults: dict[int | tuple[str, str], Fault] = field(default_factory=dict)
    states: list[str] = field(default_factory=lambda: ["PENDING", "RUNNING", "SUCCEEDED"])
    tables: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in _ID_KEYS})
    requests: list[tuple[str, str]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    most_enabled: int = 0
    url: str = ""
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __getitem__(self, table: str) -> list[Row]:
        return self.tables[table]

    def changes(self) -> list[tuple[str, str]]:
        """Returns the requests that change something."""
        return [(method, path) for method, path in self.requests if method != "GET"]


_ID_KEYS = {
    "pipelines": "pipeline_id",
    "versions": "pipeline_version_id",
    "experiments": "experiment_id",
    "runs": "run_id",
    "recurringruns": "recurring_run_id",
}
_LIST_KEYS = {"versions": "pipeline_versions", "recurringruns": "recurringRuns"}


@contextmanager
def kfp_stand_in(certificate: Path | None = None, **settings: Any) -> Iterator[KfpStandIn]:
    """Serves until the block ends; with a PEM file of key and certificate over TLS."""
    state = KfpStandIn(**settings)
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *words: _Handler(state, *words))
    server.daemon_threads = True
    server.handle_error = lambda *words: None  # type: ignore[method-assign] # A client that left is what some tests are about.
    scheme = "http"
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    state.url = f"{scheme}://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # Head and body in one packet: else each answer waits 40 ms for an acknowledgement.

    def __init__(self, state: KfpStandIn, *words: Any) -> None:
        self.state = state
        super().__init__(*words)

    def log_message(self, *words: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        place = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.state.lock:
            self.state.requests.append((method, place.path))
            fault = self._fault(method, place.path)
            answer: tuple[int, Row] | None = None
            if fault is None or fault.acted:
                answer = self._answer(method, unquote(place.path), {key: values[0] for key, values in parse_qs(place.query).items()}, body)
        if fault:
            self._fail(fault)
        elif answer:
            self._send(answer[0], json.dumps(answer[1]).encode())

    def _fault(self, method: str, path: str) -> Fault | None:
        by_number = self.state.faults.get(len(self.state.requests))
        if by_number:
            return by_number
        for key in list(self.state.faults):
            if isinstance(key, tuple) and key[0] == method and key[1] in path:
                return self.state.faults.pop(key)
        return None

    def _fail(self, fault: Fault) -> None:
        if fault.kind == "status":
            self._send(fault.status, json.dumps({"error": "told to fail", "message": "told to fail", "code": 13}).encode())
        elif fault.kind == "drop":
            self.close_connection = True
            self.connection.close()
        elif fault.kind == "hang":
            self.state.released.wait(20)
            self.close_connection = True
        elif fault.kind == "garbage":
            self._send(200, b"\x1b[31m{not json")
        elif fault.kind == "html":
            self._send(200, b"<!doctype html><title>Log in</title>", "text/html")
        elif fault.kind == "redirect":
            self._send(302, b"", location="https://login.example.com/dex?\x07state=1")
        elif fault.kind == "empty":
            self._send(200, b'{"pipelineId": "camel-case"}')
        elif fault.kind == "endless":
            self._send(200, b" " * ((32 << 20) + 2))

    def _send(self, status: int, content: bytes, kind: str = "application/json", location: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(content)

    def _answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, Row]:
        try:
            self._check_login()
            return 200, self._routed(method, path, query, body)
        except Refusal as refusal:
            if "/upload" in path:  # The upload handlers of the real server have a shape and a status of their own.
                status = refusal.status if refusal.status in (400, 401, 403) else 500
                return status, {"error_message": str(refusal), "error_details": str(refusal)}
            return refusal.status, {"error": str(refusal), "code": 3, "message": str(refusal), "details": []}

    def _check_login(self) -> None:
        if self.state.token and self.headers.get("Authorization") != f"Bearer {self.state.token}":
            raise Refusal(401, "Unauthorized: the token isn't valid")
        if self.state.cookie and self.headers.get("Cookie") != self.state.cookie:
            raise Refusal(401, "Unauthorized: no session")

    def _routed(self, method: str, path: str, query: dict[str, str], body: bytes) -> Row:
        found = re.fullmatch(r"/apis/(\w+)/(.*)", path)
        if not found or found[1] != self.state.api_version:
            raise Refusal(404, "Not Found")
        for wanted, pattern, act in _ROUTES:
            match = re.fullmatch(pattern, found[2])
            if match and method == wanted:
                return act(self, query, body, *match.groups())
        raise Refusal(404, "Not Found")

    # What each route does.

    def _healthz(self, query: Row, body: bytes) -> Row:
        return {"multi_user": self.state.many_users}

    def _list(self, query: Row, body: bytes, table: str, pipeline_id: str = "") -> Row:
        table = "versions" if pipeline_id else table
        rows = self.state[table]
        if pipeline_id:
            rows = [row for row in rows if row["pipeline_id"] == pipeline_id]
        for key in ("experiment_id", "namespace"):
            if query.get(key):
                rows = [row for row in rows if row.get(key) == query[key]]
        if self.state.many_users and table in ("pipelines", "experiments") and not query.get("namespace"):
            raise Refusal(400, "Invalid input error: a namespace is required in multi-user mode")
        for predicate in json.loads(query.get("filter") or "{}").get("predicates", []):
            if predicate["operation"] != 1 or predicate["key"] != "display_name":
                raise Refusal(400, "Invalid input error: unknown filter")
            rows = [row for row in rows if row["display_name"] == predicate["stringValue"]]
        start = int(query.get("page_token") or 0)
        size = min(int(query.get("page_size") or 10), self.state.page_size)
        page: Row = {_LIST_KEYS.get(table, table): rows[start : start + size], "total_size": len(rows)}
        if start + size < len(rows):
            page["next_page_token"] = str(start + size)
        return page

    def _create_pipeline(self, query: Row, body: bytes) -> Row:
        return self._added_named("pipelines", self._json(body))

    def _create_experiment(self, query: Row, body: bytes) -> Row:
        return self._added_named("experiments", {**self._json(body), "storage_state": "AVAILABLE"})

    def _added_named(self, table: str, row: Row) -> Row:
        if not row.get("display_name"):
            raise Refusal(400, "Invalid input error: a name is required")
        if self.state.many_users and not row.get("namespace"):
            raise Refusal(400, "Invalid input error: a namespace is required in multi-user mode")
        if any(one["display_name"] == row["display_name"] and one.get("namespace") == row.get("namespace") for one in self.state[table]):
            raise Refusal(409, f"Already exist error: the name {row['display_name']} already exists")
        return self._added(table, row)

    def _upload(self, query: Row, body: bytes) -> Row:
        kind = self.headers.get("Content-Type", "")
        if not kind.startswith("multipart/form-data"):
            raise Refusal(400, "request Content-Type isn't multipart/form-data")
        self._one("pipelines", query.get("pipelineid", ""))
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
        (part,) = [part for part in message.iter_parts() if part.get_param("name", header="content-disposition") == "uploadfile"]
        if not str(part.get_filename()).endswith((".yaml", ".zip", ".tar.gz")):
            raise Refusal(400, "unexpected file format")
        try:
            spec = next(iter(yaml.safe_load_all(part.get_payload(decode=True))))
            tasks = spec["root"]["dag"]["tasks"]
        except (yaml.YAMLError, KeyError, TypeError, StopIteration):
            raise Refusal(400, "Invalid input error: the pipeline spec is invalid") from None
        if not tasks or spec.get("schemaVersion") != "2.1.0":
            raise Refusal(400, "Invalid input error: the pipeline spec is invalid")
        row = {"pipeline_id": query["pipelineid"], "display_name": query["name"], "description": query.get("description", "")}
        if any(one["display_name"] == row["display_name"] and one["pipeline_id"] == row["pipeline_id"] for one in self.state["versions"]):
            raise Refusal(409, f"Already exist error: the name {row['display_name']} already exists")
        return self._added("versions", {**row, "pipeline_spec": spec})

    def _create_run(self, query: Row, body: bytes) -> Row:
        row = self._json(body)
        self._check_runnable(row)
        return self._added("runs", {**row, "state": "PENDING", "storage_state": "AVAILABLE", "looks": 0})

    def _create_recurring(self, query: Row, body: bytes) -> Row:
        row = self._json(body)
        self._check_runnable(row)
        cron = row["trigger"]["cron_schedule"]["cron"]
        if not cron.startswith("@") and len(cron.split()) != 6:
            raise Refusal(400, f"Invalid input error: schedule cron is not supported: {cron}")
        if int(row.get("max_concurrency") or 0) < 1:
            raise Refusal(400, "Invalid input error: the max concurrency must be at least 1")
        added = self._added("recurringruns", {**row, "status": "ENABLED" if row.get("mode") == "ENABLE" else "DISABLED"})
        self._count_enabled()
        return added

    def _check_runnable(self, row: Row) -> None:
        reference = row.get("pipeline_version_reference") or {}
        version = self._one("versions", reference.get("pipeline_version_id", ""))
        if version["pipeline_id"] != reference.get("pipeline_id"):
            raise Refusal(400, "Invalid input error: the version belongs to another pipeline")
        if self._one("experiments", row.get("experiment_id", ""))["storage_state"] != "AVAILABLE":
            raise Refusal(400, "Invalid input error: the experiment is archived")
        wanted = version["pipeline_spec"]["root"].get("inputDefinitions", {}).get("parameters", {})
        given = row.get("runtime_config", {}).get("parameters", {})
        for name, definition in wanted.items():
            if name not in given and "defaultValue" not in definition and not definition.get("isOptional"):
                raise Refusal(400, f"Invalid input error: parameter {name} is missing")
        if not row.get("display_name"):
            raise Refusal(400, "Invalid input error: a name is required")

    def _get_run(self, query: Row, body: bytes, run_id: str) -> Row:
        row = self._one("runs", run_id)
        row["state"] = self.state.states[min(row["looks"], len(self.state.states) - 1)]
        row["looks"] += 1
        tasks = [{"display_name": "root-driver", "state": "SUCCEEDED"}, {"display_name": "Trainer", "state": row["state"]}]
        error = {"error": {"code": 1, "message": "stage Trainer\nfailed"}} if row["state"] == "FAILED" else {}
        return {**row, "run_details": {"task_details": tasks}, **error}

    def _delete_recurring(self, query: Row, body: bytes, recurring_run_id: str) -> Row:
        self.state["recurringruns"].remove(self._one("recurringruns", recurring_run_id))
        self.state.deleted.append(recurring_run_id)
        return {}

    def _enable_recurring(self, query: Row, body: bytes, recurring_run_id: str) -> Row:
        self._one("recurringruns", recurring_run_id)["status"] = "ENABLED"
        self._count_enabled()
        return {}

    def _count_enabled(self) -> None:
        names = [row["display_name"] for row in self.state["recurringruns"] if row["status"] == "ENABLED"]
        self.state.most_enabled = max([self.state.most_enabled, *(names.count(name) for name in names)])

    def _json(self, body: bytes) -> Row:
        if not self.headers.get("Content-Type", "").startswith("application/json"):
            raise Refusal(415, "unsupported media type")
        try:
            row = json.loads(body)
        except ValueError:
            raise Refusal(400, "invalid character in the body") from None
        return {key: value for key, value in row.items() if value is not None}

    def _one(self, table: str, wanted: str) -> Row:
        for row in self.state[table]:
            if row[_ID_KEYS[table]] == wanted:
                return row
        raise Refusal(404, f"ResourceNotFoundError: {table} {wanted!r} not found")

    def _added(self, table: str, row: Row) -> Row:
        added = {**row, _ID_KEYS[table]: str(uuid.uuid4()), "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        self.state[table].append(added)
        return added


_ROUTES: list[tuple[str, str, Callable[..., Row]]] = [
    ("GET", "healthz", _Handler._healthz),
    ("GET", "(pipelines|experiments|runs|recurringruns)", _Handler._list),
    ("GET", "(pipelines)/([^/]+)/versions", _Handler._list),
    ("POST", "pipelines", _Handler._create_pipeline),
    ("POST", "pipelines/upload_version", _Handler._upload),
    ("POST", "experiments", _Handler._create_experiment),
    ("POST", "runs", _Handler._create_run),
    ("GET", "runs/([^/]+)", _Handler._get_run),
    ("POST", "recurringruns", _Handler._create_recurring),
    ("DELETE", "recurringruns/([^/]+)", _Handler._delete_recurring),
    ("POST", "recurringruns/([^/]+):enable", _Handler._enable_recurring),
]
