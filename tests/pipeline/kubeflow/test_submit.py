"""Proves what `aisle submit` leaves on a server, whatever goes wrong on the way.

The server is a stand-in of the Kubeflow Pipelines API over real HTTP (tests/support/kfp_stand_in.py), because the real one
needs a cluster. What is proved is our side of the conversation, and that it follows the API's published shapes; not that the
real server behaves as the stand-in does.
"""

import datetime
import functools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline import cli
from pipeline.commands import submit as command
from pipeline.kubeflow.kfp_api import Access, ApiError, KfpApi
from pipeline.kubeflow.package import package_of, reading_anew
from pipeline.kubeflow.parameters import PARAMETERS
from pipeline.kubeflow.submission import Request, submit
from pipeline.kubeflow.waiting import Follower
from schemas.errors import SettingsError, SubmissionError
from tests.support.kfp_stand_in import Fault, kfp_stand_in

ROOT = Path(__file__).parents[3]
SPEC = textwrap.dedent(
    """\
    schemaVersion: 2.1.0
    pipelineInfo: {name: shop}
    root:
      dag:
        tasks:
          Trainer: {componentRef: {name: comp-trainer}, cachingOptions: {enableCache: true}}
          Reader:
            componentRef: {name: comp-trainer}
            cachingOptions: {enableCache: true}
            inputs: {parameters: {feeds: {componentInputParameter: feeds_sha256}}}
      inputDefinitions: {parameters: {feeds_sha256: {parameterType: STRING}}}
    components: {comp-trainer: {executorLabel: exec-trainer}}
    deploymentSpec: {executors: {exec-trainer: {container: {image: aisle/steps:1}}}}
    """
)
ALL = ("pipelines", "versions", "experiments")


@pytest.fixture
def server():
    with kfp_stand_in() as state:
        yield state


@pytest.fixture
def package(tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text(SPEC, encoding="utf-8")
    return path


@pytest.fixture
def aisle_submit(server, package, monkeypatch, capsys):
    """Calls the program, with the pauses between attempts cut short; returns exit code, results and notes."""
    for name in (command.HOST, command.TOKEN, command.COOKIE, "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(command, "Access", functools.partial(Access, pause_s=0.001))
    monkeypatch.setattr(command, "Follower", functools.partial(Follower, pause_s=0.01))

    def call(*words, host=server.url):
        code = cli.main(["submit", "--package", str(package), *(["--host", host] if host else []), *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def api_of(state, **settings):
    return KfpApi(Access(host=state.url, **{"timeout_s": 20.0, "pause_s": 0.0, **settings}), sleep=lambda seconds: None)


def request_of(**changed):
    values = {
        "package": package_of(SPEC, "spec"),
        "experiment": "shop",
        "run_name": "build-1",
        "reuse_run": True,
        "parameters": {"feeds_sha256": "abc"},
    }
    return Request(**{**values, **changed})


def submitted(state, **changed):
    return submit(api_of(state), request_of(**changed), state.url, lambda line: None)


def counts(state):
    return {table: len(rows) for table, rows in state.tables.items()}


# What is there afterwards.


def test_everything_missing_is_created_in_order_and_named(server, aisle_submit):
    code, out, _ = aisle_submit("--run-name", "build-1", "--json")
    assert code == 0
    row = json.loads(out)
    assert [(thing["kind"], thing["state"]) for thing in row["things"]] == [
        ("pipeline", "created"),
        ("version", "created"),
        ("experiment", "created"),
        ("run", "started"),
    ]
    run = server["runs"][0]
    assert row["url"] == f"{server.url}/#/runs/details/{run['run_id']}"
    assert run["pipeline_version_reference"]["pipeline_version_id"] == server["versions"][0]["pipeline_version_id"]
    assert run["experiment_id"] == server["experiments"][0]["experiment_id"]
    assert run["runtime_config"]["parameters"]["feeds_sha256"]
    assert server["versions"][0]["pipeline_spec"]["pipelineInfo"]["name"] == "shop"


def test_the_same_content_is_no_new_version_and_says_so(server, aisle_submit):
    assert aisle_submit()[0] == 0
    code, out, _ = aisle_submit()
    assert code == 0
    assert [line.split()[:3] for line in out.splitlines()[:3]] == [
        ["pipeline", "already", "there"],
        ["version", "already", "there"],
        ["experiment", "already", "there"],
    ]
    assert counts(server) == {"pipelines": 1, "versions": 1, "experiments": 1, "runs": 2, "recurringruns": 0}


def test_other_content_is_another_version_of_the_same_pipeline(server, aisle_submit, package):
    aisle_submit()
    package.write_text(SPEC.replace("aisle/steps:1", "aisle/steps:2"), encoding="utf-8")
    aisle_submit()
    first, second = server["versions"]
    assert first["pipeline_id"] == second["pipeline_id"]
    assert first["display_name"] != second["display_name"]
    assert server["runs"][1]["pipeline_version_reference"]["pipeline_version_id"] == second["pipeline_version_id"]


def test_a_version_beyond_the_first_page_is_found(server, aisle_submit, package):
    for number in range(5):
        package.write_text(SPEC.replace("aisle/steps:1", f"aisle/steps:{number}"), encoding="utf-8")
        aisle_submit()
    package.write_text(SPEC.replace("aisle/steps:1", "aisle/steps:4"), encoding="utf-8")
    assert "version        already there" in aisle_submit()[1]


def test_a_named_run_is_started_once_until_it_fails(server):
    first = submitted(server)
    again = submitted(server)
    assert again.id_of("run") == first.id_of("run")
    server["runs"][0]["state"] = "FAILED"
    third = submitted(server)
    assert third.id_of("run") != first.id_of("run")
    assert len(server["runs"]) == 2


def test_root_service_account_and_namespace_reach_the_server():
    with kfp_stand_in(many_users=True) as state:
        submitted(state, root="s3://bucket/aisle", service_account="robot", namespace="team")
        run = state["runs"][0]
        assert run["runtime_config"]["pipeline_root"] == "s3://bucket/aisle"
        assert run["service_account"] == "robot"
        assert state["pipelines"][0]["namespace"] == state["experiments"][0]["namespace"] == "team"


def test_an_installation_with_many_users_asks_for_a_namespace():
    with kfp_stand_in(many_users=True) as state, pytest.raises(SettingsError, match="keeps its users apart. Pass --namespace"):
        submitted(state)


@pytest.mark.slow
def test_a_configuration_is_compiled_and_its_inputs_are_parameters(server):
    words = ["submit", "--config", "configs/kubeflow.yaml", "--image", "aisle/steps:0123456789abcdef", "--host", server.url, "--json"]
    done = subprocess.run([sys.executable, "-m", "pipeline.cli", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [thing["name"] for thing in json.loads(done.stdout)["things"]][0] == "shop"
    (version,), (run,) = server["versions"], server["runs"]
    executors = version["pipeline_spec"]["deploymentSpec"]["executors"].values()
    assert {executor["container"]["image"] for executor in executors} == {"aisle/steps:0123456789abcdef"}
    assert set(run["runtime_config"]["parameters"]) == set(PARAMETERS)


def test_a_dry_run_changes_nothing(server, aisle_submit):
    code, out, _ = aisle_submit("--dry-run")
    assert code == 0
    assert [line.split(maxsplit=1)[1].startswith("would be created") for line in out.splitlines()[:4]] == [True] * 4
    assert server.changes() == []
    aisle_submit("--run-name", "one")
    before = len(server.changes())
    out = aisle_submit("--dry-run", "--run-name", "one")[1]
    assert "would be" not in out
    assert len(server.changes()) == before


def test_a_dry_run_without_a_host_says_what_the_package_is(aisle_submit):
    code, out, _ = aisle_submit("--dry-run", "--json", host="")
    assert code == 0
    row = json.loads(out)
    assert (row["pipeline"], row["version"], row["parameters"]) == ("shop", package_of(SPEC, "x").version, ["feeds_sha256"])


# Half-done submissions.


def all_requests():
    """The requests of a whole first submission by number, as a pair of method and path."""
    with kfp_stand_in() as state:
        submitted(state)
        return list(enumerate(state.requests, 1))


def all_recurring_requests():
    """The requests of a submission that replaces a recurring run."""
    with kfp_stand_in() as state:
        submitted(state, cron="0 0 4 * * *")
        first = len(state.requests)
        submitted(state, cron="0 0 5 * * *")
        return list(enumerate(state.requests[first:], 1))


def name_of(case):
    number, (method, _) = case
    return f"{number}-{method}"


FAULTS = [Fault("status", 403), Fault("status", 503, acted=True), Fault("drop"), Fault("drop", acted=True), Fault("garbage", acted=True)]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.kind}-{fault.status}-{'acted' if fault.acted else 'lost'}")
@pytest.mark.parametrize("case", all_requests(), ids=name_of)
def test_a_submission_that_failed_at_any_request_goes_on_and_doubles_nothing(case, fault):
    with kfp_stand_in() as state:
        state.faults[case[0]] = fault
        try:
            submitted(state)
        except SubmissionError:
            state.faults.clear()
            submitted(state)
        assert counts(state) == {"pipelines": 1, "versions": 1, "experiments": 1, "runs": 1, "recurringruns": 0}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.kind}-{fault.status}-{'acted' if fault.acted else 'lost'}")
@pytest.mark.parametrize("case", all_recurring_requests(), ids=name_of)
def test_a_recurring_run_replaced_halfway_is_one_in_the_end_and_never_two_at_work(case, fault):
    with kfp_stand_in() as state:
        submitted(state, cron="0 0 4 * * *")
        state.faults[len(state.requests) + case[0]] = fault
        try:
            submitted(state, cron="0 0 5 * * *")
        except SubmissionError:
            state.faults.clear()
            submitted(state, cron="0 0 5 * * *")
        (row,) = state["recurringruns"]
        assert row["trigger"]["cron_schedule"]["cron"] == "0 0 5 * * *"
        assert row["status"] == "ENABLED"
        assert state.most_enabled == 1


def test_an_error_halfway_says_what_is_there_and_that_the_command_goes_on(server, aisle_submit):
    server.faults[("POST", "/runs")] = Fault("status", 403)
    code, out, err = aisle_submit("--run-name", "build-1")
    assert (code, out) == (1, "")
    last = err.splitlines()[-1]
    assert last.startswith(f"error: {server.url}: refused to start the run (403): told to fail.")
    for table, key in (("pipelines", "pipeline_id"), ("versions", "pipeline_version_id"), ("experiments", "experiment_id")):
        assert server[table][0][key] in last
    assert last.endswith("the same command goes on from there.")
    code, out, _ = aisle_submit("--run-name", "build-1")
    assert code == 0
    assert "run            started" in out


def test_a_run_whose_start_was_not_answered_is_found_not_started_again(server):
    server.faults[("POST", "/runs")] = Fault("drop", acted=True)
    submission = submitted(server, reuse_run=False, run_name="shop-20260101")
    assert submission.id_of("run") == server["runs"][0]["run_id"]
    assert server.requests.count(("POST", "/apis/v2beta1/runs")) == 1


def test_an_earlier_failed_run_of_the_name_is_not_taken_for_the_one_whose_answer_was_lost(server):
    submitted(server)
    server["runs"][0]["state"] = "FAILED"
    server.faults[("POST", "/runs")] = Fault("drop")
    with pytest.raises(SubmissionError, match=r"the connection broke before an answer came \(start the run\)"):
        submitted(server)
    assert len(server["runs"]) == 1


# Recurring runs.


def test_a_recurring_run_is_created_once(server, aisle_submit):
    for _ in range(2):
        code, out, _ = aisle_submit("--every", "0 4 * * *", "--run-name", "nightly")
        assert code == 0
    assert out.splitlines()[3].split()[:4] == ["recurring", "run", "already", "there"]
    (row,) = server["recurringruns"]
    assert row["trigger"]["cron_schedule"]["cron"] == "0 0 4 * * *"
    assert row["runtime_config"]["parameters"]["feeds_sha256"] == "[[ScheduledTime]]"
    assert (row["max_concurrency"], row["no_catchup"]) == ("1", True)
    assert server["runs"] == []


def test_a_changed_recurring_run_is_replaced_and_others_stay(server, aisle_submit, package):
    aisle_submit("--every", "@daily", "--run-name", "nightly")
    aisle_submit("--every", "@weekly", "--run-name", "weekly")
    package.write_text(SPEC.replace("aisle/steps:1", "aisle/steps:2"), encoding="utf-8")
    code, out, _ = aisle_submit("--every", "@daily", "--run-name", "nightly")
    assert code == 0
    assert "recurring run  replaced" in out
    rows = {row["display_name"]: row for row in server["recurringruns"]}
    assert sorted(rows) == ["nightly", "weekly"]
    assert rows["nightly"]["pipeline_version_reference"]["pipeline_version_id"] == server["versions"][1]["pipeline_version_id"]


def test_runs_on_a_schedule_never_take_yesterdays_inputs_from_the_cache(server, aisle_submit):
    aisle_submit()
    aisle_submit("--every", "@daily")
    once, recurring = (
        {name: task["cachingOptions"]["enableCache"] for name, task in version["pipeline_spec"]["root"]["dag"]["tasks"].items()}
        for version in server["versions"]
    )
    assert once == {"Trainer": True, "Reader": True}
    assert recurring == {"Trainer": True, "Reader": False}
    assert server["recurringruns"][0]["pipeline_version_reference"]["pipeline_version_id"] == server["versions"][1]["pipeline_version_id"]


def test_every_input_of_the_real_pipeline_is_read_anew_on_a_schedule():
    text = (ROOT / "tests" / "pipeline" / "kubeflow" / "golden.yaml").read_text(encoding="utf-8")
    before, after = (list(yaml.safe_load_all(one)) for one in (text, reading_anew(package_of(text, "golden"), PARAMETERS).text))
    uncached = {name for name, task in after[0]["root"]["dag"]["tasks"].items() if task["cachingOptions"] == {"enableCache": False}}
    told = {
        (source["componentInputParameter"], name)
        for name, task in before[0]["root"]["dag"]["tasks"].items()
        for source in task["inputs"].get("parameters", {}).values()
        if "componentInputParameter" in source
    }
    assert {parameter for parameter, _ in told} == set(PARAMETERS)
    assert uncached == {name for _, name in told}
    for name in uncached:
        after[0]["root"]["dag"]["tasks"][name]["cachingOptions"] = before[0]["root"]["dag"]["tasks"][name]["cachingOptions"]
    assert after == before


def test_a_recurring_run_that_was_switched_off_is_switched_on(server):
    submitted(server, cron="@daily")
    server["recurringruns"][0]["status"] = "DISABLED"
    submitted(server, cron="@daily")
    assert [row["status"] for row in server["recurringruns"]] == ["ENABLED"]


@pytest.mark.parametrize("text", ["", "4 * * *", "0 0 4 * * * *", "@often", "0 4 * * $(id)", "@every", "* " * 200])
def test_a_schedule_that_is_none_is_refused(aisle_submit, text, capsys):
    with pytest.raises(SystemExit, match="2"):
        aisle_submit(f"--every={text}")
    assert "isn't a schedule such as" in capsys.readouterr().err


# What the server does to us.


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("status", 401), r"refused to find the pipeline \(401\): told to fail\. Pass a valid login: --token-file"),
        (Fault("status", 403), r"refused to find the pipeline \(403\): told to fail\. This login lacks the right"),
        (Fault("status", 400), r"could not find the pipeline \(400\): told to fail\. Change what it names"),
        (Fault("garbage"), r"answered ' ?\[31m\{not json' \(find the pipeline\), expected a JSON object"),
        (Fault("html"), r"answered with a web page \(find the pipeline\), expected JSON. It is most often a login page"),
        (Fault("redirect"), r"is redirected to https://login.example.com/dex\?.?state=1 \(find the pipeline\)"),
        (Fault("endless"), r"the answer is over 32 MB \(find the pipeline\)"),
    ],
    ids=lambda value: f"{value.kind}-{value.status}" if isinstance(value, Fault) else "",
)
def test_an_answer_that_will_not_get_better_is_one_line_and_not_asked_for_again(server, aisle_submit, fault, said):
    server.faults[("GET", "/pipelines")] = fault
    code, out, err = aisle_submit()
    assert (code, out) == (1, "")
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert err.splitlines()[-1] == line
    assert re.search(said, line), line
    assert line.isprintable()
    assert server.requests.count(("GET", "/apis/v2beta1/pipelines")) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again_but_not_for_ever(server, status):
    slept = []
    api = KfpApi(Access(host=server.url, attempts=3, pause_s=1.0), sleep=slept.append)
    for number in range(1, 3):
        server.faults[number] = Fault("status", status)
    assert api.has_many_users() is False
    assert slept == [1.0, 2.0]
    for number in range(4, 10):
        server.faults[number] = Fault("status", status)
    with pytest.raises(ApiError, match=rf"could not ask for its health \({status}\): told to fail. Start the same command again"):
        api.has_many_users()
    assert len(server.requests) == 6


def test_starting_a_run_is_repeated_only_if_the_request_never_arrived(server):
    submitted(server)
    body = {"display_name": "x"}
    before = len(server.requests)
    server.faults[before + 1] = Fault("status", 503)
    with pytest.raises(ApiError):
        api_of(server).create_run(body)
    assert len(server.requests) == before + 1


def test_a_hanging_server_is_given_up_on(server):
    server.faults = {number: Fault("hang") for number in range(1, 9)}
    started_s = time.monotonic()
    with pytest.raises(ApiError, match=r"no answer within 0.2 s \(ask for its health\). .*longer --timeout"):
        api_of(server, timeout_s=0.2, attempts=2).has_many_users()
    assert time.monotonic() - started_s < 5
    assert len(server.requests) == 2


def test_an_unreachable_server_is_said_so(aisle_submit):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{taken.getsockname()[1]}"
        code, out, err = aisle_submit(host=host)
    assert (code, out) == (1, "")
    assert err == f"error: {host}: can't be reached: [Errno 111] Connection refused. Check --host and the network.\n"


def test_an_unknown_host_is_said_so(aisle_submit):
    code, _, err = aisle_submit("--timeout", "5", host="http://no-such-host.invalid")
    assert code == 1
    assert err.startswith("error: http://no-such-host.invalid: can't be reached: ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("namespace", ["", "team"])
def test_an_older_api_is_told_apart(namespace):
    with kfp_stand_in(api_version="v1beta1") as state, pytest.raises(ApiError, match="there is no Kubeflow Pipelines API v2beta1 here"):
        submitted(state, namespace=namespace)


def test_a_proxy_of_the_environment_is_used_unless_the_host_is_excepted(server, aisle_submit, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    assert aisle_submit(host="http://kubeflow.invalid/pipeline")[0] == 1  # The stand-in doesn't know the path /pipeline.
    assert aisle_submit(host="http://kubeflow.invalid")[0] == 0
    requests = len(server.requests)
    monkeypatch.setenv("no_proxy", "kubeflow.invalid")
    code, _, err = aisle_submit(host="http://kubeflow.invalid")
    assert (code, len(server.requests)) == (1, requests)
    assert "can't be reached" in err


def test_an_answer_without_an_id_is_another_api(server):
    server.faults[("POST", "/pipelines")] = Fault("empty")
    with pytest.raises(ApiError, match="the answer has no usable 'pipeline_id' .* another version of the API than v2beta1"):
        submitted(server)


def test_a_package_the_server_refuses_says_why(server, aisle_submit):
    server.faults[("POST", "upload_version")] = Fault("status", 400)
    code, _, err = aisle_submit()
    assert code == 1
    assert "could not upload the version (400): told to fail" in err
    assert "There already: pipeline shop" in err


def test_an_archived_experiment_is_refused(server, aisle_submit):
    aisle_submit()
    server["experiments"][0]["storage_state"] = "ARCHIVED"
    code, _, err = aisle_submit()
    assert code == 1
    assert "experiment 'shop' is archived. Restore it there, or pass another --experiment." in err


# Logins.


def test_a_token_is_read_from_a_file_before_each_request_and_never_shown(tmp_path, monkeypatch, capsys, package):
    token_file = tmp_path / "token"
    with kfp_stand_in(token="first-secret") as state:
        token_file.write_text("first-secret\n")
        code = cli.main(["submit", "--package", str(package), "--host", state.url, "--token-file", str(token_file)])
        assert code == 0
        state.token = "second-secret"
        api = api_of(state, token_file=token_file)
        with pytest.raises(ApiError, match="401"):
            api.has_many_users()
        token_file.write_text("second-secret\n")
        assert api.has_many_users() is False
    said = capsys.readouterr()
    assert "secret" not in said.out + said.err


def test_tokens_and_cookies_come_from_the_environment(monkeypatch, package, capsys):
    with kfp_stand_in(token="tok", cookie="authservice_session=abc") as state:
        monkeypatch.setenv("AISLE_KFP_TOKEN", "tok")
        monkeypatch.setenv("AISLE_KFP_COOKIE", "authservice_session=abc")
        monkeypatch.setenv("AISLE_KFP_HOST", state.url + "/")
        assert cli.main(["submit", "--package", str(package)]) == 0
        assert len(state["runs"]) == 1


@pytest.mark.parametrize("content", [b"", b"two\nlines", b"\xff\xfe", b"a\x00b"])
def test_a_token_that_fits_no_header_is_refused_without_showing_it(tmp_path, aisle_submit, content):
    (tmp_path / "token").write_bytes(content)
    code, _, err = aisle_submit("--token-file", str(tmp_path / "token"))
    assert code == 2
    assert f"--token-file {tmp_path / 'token'}" in err
    assert "lines" not in err.replace("one line", "")


@pytest.mark.parametrize(
    "host", ["kubeflow", "ftp://x", "http://", "http://a b", "http://me:pw@host", "http://host/?x=1", "http://host:99999"]
)
def test_a_host_that_is_no_base_url_is_refused(aisle_submit, host):
    code, _, err = aisle_submit(host=host)
    assert code == 2
    assert "pw" not in err
    assert err.startswith("error: --host ")


def certificate(folder):
    """Writes a key with a certificate for localhost that it signed itself, and returns the certificate's file and both."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    public = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "ca.pem").write_bytes(public)
    (folder / "server.pem").write_bytes(private + public)
    return folder / "ca.pem", folder / "server.pem"


def test_tls_is_checked_against_the_authority_given(tmp_path, aisle_submit):
    authority, own = certificate(tmp_path)
    with kfp_stand_in(certificate=own) as state:
        code, _, err = aisle_submit(host=state.url)
        assert code == 1
        assert "its TLS certificate isn't trusted" in err
        assert "Pass the authority's certificate with --ca FILE." in err
        assert aisle_submit("--ca", str(authority), host=state.url)[0] == 0
    assert aisle_submit("--ca", str(tmp_path / "gone"))[0] == 2


# Waiting.


def test_waiting_ends_with_the_run_and_its_state_is_the_exit_code(server, aisle_submit):
    code, out, err = aisle_submit("--wait", "--json")
    assert code == 0
    assert json.loads(out)["state"] == "SUCCEEDED"
    assert [line for line in err.splitlines() if line.startswith(("run:", "stage "))] == [
        "run: RUNNING",
        "stage Trainer: RUNNING",
        "run: SUCCEEDED",
        "stage Trainer: SUCCEEDED",
    ]
    server.states = ["FAILED"]
    code, out, err = aisle_submit("--wait", "--run-name", "b", "--json")
    assert code == 1
    assert json.loads(out)["state"] == "FAILED"
    assert "error: run b ended FAILED: stage Trainer failed; failed: Trainer. Its logs are at " in err.splitlines()[-1]


def test_waiting_outlasts_a_server_that_is_away_for_a_while(server):
    run_id = submitted(server).id_of("run")
    start = len(server.requests)
    server.faults = {start + number: Fault("drop") for number in range(2, 8)}
    server.states = ["RUNNING", "SUCCEEDED"]
    notes = []
    ending = Follower(api_of(server, attempts=1), notes.append, pause_s=0, sleep=lambda seconds: None).follow(run_id)
    assert ending.state == "SUCCEEDED"
    assert any("Still waiting" in note for note in notes)


def test_waiting_gives_up_on_a_server_that_stays_away(server):
    run_id = submitted(server).id_of("run")
    server.faults = {number: Fault("status", 503) for number in range(1, 100)}
    clock = iter(range(0, 10_000, 60))
    follower = Follower(
        api_of(server, attempts=1), lambda line: None, patience_s=300, sleep=lambda seconds: None, now_s=lambda: next(clock)
    )
    with pytest.raises(ApiError, match="503"):
        follower.follow(run_id)


def test_stopping_to_wait_leaves_the_run_alone(server, package):
    server.states = ["RUNNING"]
    words = [sys.executable, "-m", "pipeline.cli", "submit", "--package", str(package), "--host", server.url, "--run-name", "b", "--wait"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        for line in child.stderr:
            if line == "run: RUNNING\n":
                child.send_signal(signal.SIGINT)
                break
        out, err = child.communicate(timeout=30)
    assert child.returncode == 130
    assert f"stopped waiting; the run goes on: {server.url}/#/runs/details/" in err
    assert server["runs"][0]["run_id"] in out
    assert [path for method, path in server.changes() if "terminate" in path] == []


# What is submitted.


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "found NoneType, expected a mapping"),
        (b"- 1\n", "found list, expected a mapping"),
        (b"a: [1\nb: 2\n", ":2: this isn't YAML"),
        (b"\xff\xfe", "byte 0 isn't UTF-8"),
        (b"a: !!python/object/apply:os.system [id]\n", ":1: this isn't YAML"),
        (SPEC.replace("2.1.0", "2.0.0").encode(), "schemaVersion is '2.0.0', expected '2.1.0'"),
        (SPEC.replace("{name: shop}", "{}").encode(), "pipelineInfo.name is None"),
        (SPEC.replace("dag:", "gad:").encode(), "there are no tasks in root.dag"),
        (b"[" * 100_000, ":1: is nested over 200 levels deep"),
    ],
    ids=["empty", "list", "broken", "binary", "tags", "schema", "name", "tasks", "deep"],
)
def test_a_file_that_is_no_compiled_pipeline_is_refused(aisle_submit, package, content, said, server):
    package.write_bytes(content)
    code, _, err = aisle_submit()
    assert code == 1
    assert err.startswith(f"error: {package}")
    assert said in err
    assert err.endswith("Write it with aisle compile.\n")
    assert server.requests == []


def test_a_package_that_is_not_there_is_said_so(aisle_submit, package):
    package.unlink()
    assert aisle_submit()[2] == f"error: {package}: can't be read: No such file or directory. Write it with aisle compile.\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--param", "x"), "--param 'x' isn't NAME=VALUE."),
        (("--param", "sise=1"), "the pipeline has no parameter 'sise'. Known: feeds_sha256."),
        (("--wait", "--every", "@daily"), "--wait follows one run, and --every starts many."),
        (("--image", "a:1"), "--image is compiled in, so it can't change a --package."),
        (("--run-name", "a\nb"), "--run-name 'a\\nb': expected at most 120 printable characters."),
    ],
)
def test_options_that_make_no_sense_are_refused(aisle_submit, server, words, said):
    code, _, err = aisle_submit(*words)
    assert code == 2
    assert said in err
    assert server.requests == []


def test_a_parameter_that_nobody_gives_is_named(server):
    with pytest.raises(SettingsError, match="needs a value for feeds_sha256. Pass --param feeds_sha256=VALUE"):
        submitted(server, parameters={})
    assert server.requests == []


def test_each_run_of_a_package_alone_reads_its_inputs_anew(server, aisle_submit):
    aisle_submit()
    aisle_submit()
    aisle_submit("--param", "feeds_sha256=abc")
    first, second, third = (row["runtime_config"]["parameters"]["feeds_sha256"] for row in server["runs"])
    assert first != second
    assert third == "abc"


def test_no_host_is_said_so(aisle_submit):
    code, _, err = aisle_submit(host="")
    assert code == 2
    assert err == "error: no host is named. Pass --host URL or set $AISLE_KFP_HOST; --dry-run needs none.\n"
    assert os.environ.get("AISLE_KFP_HOST") is None
