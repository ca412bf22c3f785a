"""Submits a compiled pipeline to Kubeflow: pipeline, version, experiment, then a run or a recurring run, each at most once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.kubeflow.kfp_api import ApiError, KfpApi, Row
from pipeline.kubeflow.package import Package
from schemas.errors import SettingsError, SubmissionError

CREATED, THERE, STARTED, REPLACED, PLANNED = "created", "already there", "started", "replaced", "would be created"
SUCCEEDED = "SUCCEEDED"
# A run in one of these states did not do its work, so the same name may be started again.
FAILED_STATES = ("FAILED", "CANCELED", "CANCELING", "SKIPPED")
_DESCRIPTION = "Submitted by aisle; content "


@dataclass(frozen=True)
class Request:
    """What is to be there after a submission.

    Attributes:
        package: the compiled pipeline.
        experiment: name of the experiment, created when missing.
        run_name: name of the run or recurring run.
        reuse_run: whether a run of that name that is under way or succeeded is the one that is meant, not one more.
        cron: six fields, seconds first, for a recurring run; empty to run once.
        parameters: values of the pipeline's parameters.
        root: where artifacts go; empty for what was compiled in.
        namespace: of an installation with many users; empty in others.
        service_account: that steps run as; empty for the installation's own.
    """

    package: Package
    experiment: str
    run_name: str
    reuse_run: bool = False
    cron: str = ""
    parameters: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    root: str = ""
    namespace: str = ""
    service_account: str = ""


@dataclass(frozen=True)
class Thing:
    """One thing on the server: `kind`, `name`, `id`, and in which `state` it was found or is now."""

    kind: str
    name: str
    id: str
    state: str


@dataclass(frozen=True)
class Submission:
    """What a submission did, in order, and where a person looks at it."""

    things: tuple[Thing, ...]
    url: str

    def id_of(self, kind: str) -> str:
        """Returns the id of the thing of that kind; empty where there is none."""
        return next((thing.id for thing in self.things if thing.kind == kind), "")


def submit(api: KfpApi, request: Request, ui: str, say: Callable[[str], None], dry_run: bool = False) -> Submission:
    """Makes everything of a request be there, whatever is there already.

    Each step looks before it creates, so a submission that stopped half-way goes on when it is started again.

    Args:
        api: the server.
        request: what is to be there.
        ui: base URL of the web pages.
        say: takes one line after each step.
        dry_run: only look; what is missing is said to be created, and depends on nothing else.

    Raises:
        SettingsError: a parameter is unknown or missing, or a namespace is.
        SubmissionError: a step failed; says what exists already.
    """
    check_parameters(request.package, request.parameters)
    steps = _Steps(api, request, say, dry_run)
    with steps.told():
        if api.has_many_users() and not request.namespace:
            raise SettingsError(f"{api.host}: keeps its users apart. Pass --namespace with yours.")
        pipeline_id = steps.pipeline()
        version_id = steps.version(pipeline_id)
        experiment_id = steps.experiment()
        start = steps.recurring_run if request.cron else steps.run
        started = start(pipeline_id, version_id, experiment_id)
    return Submission(tuple(steps.done), _url(ui, request, pipeline_id, version_id, started))


def check_parameters(package: Package, parameters: Mapping[str, object]) -> None:
    """Refuses parameters that a pipeline doesn't have, and missing ones that it needs.

    Raises:
        SettingsError: names them.
    """
    known = ", ".join(package.parameters) or "none"
    unknown = [name for name in parameters if name not in package.parameters]
    if unknown:
        raise SettingsError(f"the pipeline has no parameter {unknown[0]!r}. Known: {known}.")
    missing = [name for name, parameter in package.parameters.items() if parameter.required and name not in parameters]
    if missing:
        raise SettingsError(f"the pipeline needs a value for {', '.join(missing)}. Pass --param {missing[0]}=VALUE.")


class _Steps:
    """The steps of one submission, and what they left behind."""

    def __init__(self, api: KfpApi, request: Request, say: Callable[[str], None], dry_run: bool) -> None:
        self._api, self._request, self._say, self._dry_run = api, request, say, dry_run
        self.done: list[Thing] = []

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Adds to an error what is there already."""
        try:
            yield
        except SubmissionError as error:
            if not self.done or self._dry_run:
                raise
            there = ", ".join(f"{thing.kind} {thing.name} ({thing.id})" for thing in self.done)
            raise SubmissionError(f"{error} There already: {there}; the same command goes on from there.") from None

    def pipeline(self) -> str:
        name, namespace = self._request.package.name, self._request.namespace
        description = "Puts products into categories: feeds in, a judged model, its index and the next labelling batch out."
        return self._ensured(
            "pipeline",
            name,
            "pipeline_id",
            lambda: self._api.find_pipeline(name, namespace),
            lambda: self._api.create_pipeline(name, description, namespace),
        )

    def version(self, pipeline_id: str) -> str:
        package = self._request.package

        def upload() -> Row:
            with tempfile.TemporaryDirectory(prefix="aisle-submit-") as folder:
                file = Path(folder) / f"{package.version}.yaml"
                file.write_text(package.text, encoding="utf-8")
                return self._api.upload_version(file, pipeline_id, package.version, _DESCRIPTION + package.version)

        def find() -> Row | None:
            return self._api.find_version(pipeline_id, package.version) if pipeline_id else None

        return self._ensured("version", package.version, "pipeline_version_id", find, upload)

    def experiment(self) -> str:
        name, namespace = self._request.experiment, self._request.namespace

        def find() -> Row | None:
            found = self._api.find_experiment(name, namespace)
            if found and found.get("storage_state") == "ARCHIVED":
                raise SubmissionError(f"{self._api.host}: experiment {name!r} is archived. Restore it there, or pass another --experiment.")
            return found

        return self._ensured("experiment", name, "experiment_id", find, lambda: self._api.create_experiment(name, namespace))

    def run(self, pipeline_id: str, version_id: str, experiment_id: str) -> str:
        name = self._request.run_name
        before = self._api.find_runs(name, experiment_id) if self._request.reuse_run and experiment_id else []
        standing = next((row for row in before if _stands(row, version_id)), None)
        if standing:
            return self._note(Thing("run", name, str(standing["run_id"]), THERE))
        if self._dry_run:
            return self._note(Thing("run", name, "", PLANNED))
        body = self._body(pipeline_id, version_id, experiment_id)
        old = {row.get("run_id") for row in before}
        row = self._created_once(
            lambda: self._api.create_run(body),
            lambda: [one for one in self._api.find_runs(name, experiment_id) if one.get("run_id") not in old and _stands(one, version_id)],
        )
        return self._note(Thing("run", name, str(row["run_id"]), STARTED))

    def recurring_run(self, pipeline_id: str, version_id: str, experiment_id: str) -> str:
        """Makes exactly one recurring run of that name be there and enabled.

        The API can't change one. A new one is created asleep, the old ones are removed, and only then is it woken: whatever fails
        in between, never two of them start runs, and the next submission finds the sleeping one.
        """
        name = self._request.run_name
        trigger = {"cron_schedule": {"cron": self._request.cron}}
        body = {**self._body(pipeline_id, version_id, experiment_id), "trigger": trigger, "max_concurrency": "1", "no_catchup": True}
        content = _DESCRIPTION + _digest(body)
        named = self._api.find_recurring_runs(name, experiment_id) if experiment_id else []
        same = next((row for row in named if row.get("description") == content), None)
        others = [row for row in named if row is not same]
        if same and not others and same.get("status") == "ENABLED":
            return self._note(Thing("recurring run", name, str(same["recurring_run_id"]), THERE))
        if self._dry_run:
            return self._note(Thing("recurring run", name, "", "would be replaced" if named else PLANNED))
        asleep = {**body, "description": content, "mode": "DISABLE"}
        row = same or self._created_once(
            lambda: self._api.create_recurring_run(asleep),
            lambda: [one for one in self._api.find_recurring_runs(name, experiment_id) if one.get("description") == content],
        )
        for other in others:
            self._api.delete_recurring_run(str(other["recurring_run_id"]))
        self._api.enable_recurring_run(str(row["recurring_run_id"]))
        return self._note(Thing("recurring run", name, str(row["recurring_run_id"]), REPLACED if others else CREATED))

    def _body(self, pipeline_id: str, version_id: str, experiment_id: str) -> Row:
        request = self._request
        runtime: Row = {"parameters": dict(request.parameters)}
        if request.root:
            runtime["pipeline_root"] = request.root
        body: Row = {
            "display_name": request.run_name,
            "description": _DESCRIPTION + request.package.version,
            "experiment_id": experiment_id,
            "pipeline_version_reference": {"pipeline_id": pipeline_id, "pipeline_version_id": version_id},
            "runtime_config": runtime,
        }
        if request.service_account:
            body["service_account"] = request.service_account
        return body

    def _ensured(self, kind: str, name: str, id_key: str, find: Callable[[], Row | None], create: Callable[[], Row]) -> str:
        found = find()
        state = THERE
        if found is None and self._dry_run:
            return self._note(Thing(kind, name, "", PLANNED))
        if found is None:
            found, state = self._created_once(create, lambda: [row for row in [find()] if row]), CREATED
        return self._note(Thing(kind, name, str(found[id_key]), state))

    def _created_once(self, create: Callable[[], Row], find: Callable[[], list[Row]]) -> Row:
        """Creates something; where the answer was lost, or somebody else was quicker, returns what is there by now."""
        try:
            return create()
        except ApiError as error:
            if not error.sent:
                raise
            with contextlib.suppress(SubmissionError):
                there = find()
                if there:
                    return there[0]
            raise

    def _note(self, thing: Thing) -> str:
        self.done.append(thing)
        self._say(f"{thing.kind} {thing.name}: {thing.state}")
        return thing.id


def _stands(row: Row, version_id: str) -> bool:
    """Returns whether a run is one of that version which is under way or did its work."""
    version = (row.get("pipeline_version_reference") or {}).get("pipeline_version_id")
    return version == version_id and row.get("state") not in FAILED_STATES and row.get("storage_state") != "ARCHIVED"


def _digest(row: Row) -> str:
    return "sha256-" + hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:16]


def _url(ui: str, request: Request, pipeline_id: str, version_id: str, started: str) -> str:
    if not started:
        place = f"pipelines/details/{_quoted(pipeline_id)}/version/{_quoted(version_id)}" if version_id else "pipelines"
    else:
        place = f"{'recurringrun' if request.cron else 'runs'}/details/{_quoted(started)}"
    return f"{ui}/#/{place}"


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")
