"""Versions come, go and come back under load, by the disk and by reload requests, and no request fails for it."""

import contextlib
import itertools
import logging
import os
import shutil
import threading
import time
import weakref

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc import StatusCode
from tensorflow_serving.apis import get_model_status_pb2, model_management_pb2, prediction_log_pb2

from schemas.errors import AisleError
from serving.model_server.model_config import ModelConfig, VersionPolicy
from serving.model_server.model_manager import Target
from serving.model_server.server import ModelServer, ServerOptions
from serving.model_server.warmup import WARMUP_FILE
from tests.serving.test_protocols import ROWS, asked, refusal
from tests.support.tiny_model import write_tiny_model

FAST = 0.05


def reload_of(base_path, *versions, name="tiny", labels=None):
    request = model_management_pb2.ReloadConfigRequest()
    model = request.config.model_config_list.config.add(name=name, base_path=str(base_path), model_platform="tensorflow")
    model.model_version_policy.specific.versions.extend(versions)
    for label, version in (labels or {}).items():
        model.version_labels[label] = version
    return request


def states(client, name="tiny"):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    kinds = get_model_status_pb2.ModelVersionStatus.State
    return {one.version: kinds.Name(one.state) for one in client.models.GetModelStatus(request).model_version_status}


def answering_version(client, **spec):
    return client.predict.Predict(asked(x=ROWS, **spec)).model_spec.version.value


def until(condition, seconds=20):
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it didn't happen in time"
        time.sleep(0.02)


def test_a_new_version_takes_over_and_a_withdrawn_one_gives_back(start, base_path):
    (base_path / "2").rename(base_path.parent / "hidden")
    client = start(ModelConfig("tiny", base_path), file_system_poll_wait_seconds=FAST)
    assert answering_version(client) == 1
    (base_path.parent / "hidden").rename(base_path / "2")
    until(lambda: answering_version(client) == 2)
    until(lambda: states(client) == {1: "END", 2: "AVAILABLE"})
    (base_path / "2").rename(base_path.parent / "withdrawn")  # As `aisle rollback` does.
    until(lambda: answering_version(client) == 1)


def test_what_is_served_stays_when_the_folder_is_emptied_or_gone(start, base_path):
    client = start(ModelConfig("tiny", base_path), file_system_poll_wait_seconds=FAST)
    shutil.rmtree(base_path)
    time.sleep(5 * FAST)
    assert answering_version(client) == 2
    base_path.mkdir()
    time.sleep(5 * FAST)
    assert answering_version(client) == 2


def test_a_version_that_cant_be_loaded_says_why_and_the_old_one_stays(start, base_path):
    client = start(ModelConfig("tiny", base_path), file_system_poll_wait_seconds=FAST)
    (base_path / "3").mkdir()
    (base_path / "3" / "saved_model.pb").write_bytes(b"\x0anonsense")
    until(lambda: states(client).get(3) == "END")
    assert answering_version(client) == 2
    status, found = client.http("/v1/models/tiny/versions/3")
    assert status == 200
    assert found["model_version_status"][0]["status"]["error_code"] != "OK"
    assert "can't be loaded" in found["model_version_status"][0]["status"]["error_message"]


# What half a copy can be. Each case leaves saved_model.pb whole, so that nothing but the version's own files tell.
HALVES = {
    "no variables yet": (lambda folder: shutil.rmtree(folder / "variables"), "variables/variables.index is missing"),
    "no index of the variables yet": (lambda folder: (folder / "variables" / "variables.index").unlink(), "variables.index is missing"),
    "half the index": (lambda folder: os.truncate(folder / "variables" / "variables.index", 50), "can't be loaded"),
    "no values yet": (lambda folder: (folder / "variables" / "variables.data-00000-of-00001").unlink(), "No such file"),
    "half the values": (lambda folder: os.truncate(folder / "variables" / "variables.data-00000-of-00001", 5), "can't be loaded"),
    "values not written yet": (lambda folder: zero(folder / "variables" / "variables.data-00000-of-00001"), "Checksum does not match"),
}


def zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def error_message(client, version):
    return client.http(f"/v1/models/tiny/versions/{version}")[1]["model_version_status"][0]["status"]["error_message"]


@pytest.mark.parametrize("case", HALVES)
def test_half_a_copy_never_goes_live_and_is_taken_once_it_is_whole(start, base_path, tmp_path, case):
    client = start(ModelConfig("tiny", base_path), file_system_poll_wait_seconds=FAST)
    damage, message = HALVES[case]
    write_tiny_model(tmp_path / "3", 3)
    shutil.copytree(tmp_path / "3", tmp_path / "half")
    damage(tmp_path / "half")
    (tmp_path / "half").rename(base_path / "3")
    until(lambda: states(client).get(3) == "END")
    assert message in error_message(client, 3)
    assert (answering_version(client), states(client)[2]) == (2, "AVAILABLE")
    shutil.copytree(tmp_path / "3", base_path / "3", dirs_exist_ok=True)  # The copy goes on; retries would come a minute apart.
    until(lambda: answering_version(client) == 3)


def test_a_copy_goes_live_once_it_ends_in_whichever_order_its_files_come(start, base_path, tmp_path):
    client = start(ModelConfig("tiny", base_path), file_system_poll_wait_seconds=0.01)
    write_tiny_model(tmp_path / "3", 3)
    names = ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
    for version, order in enumerate(itertools.permutations(names), 3):
        for name in order:
            copied_slowly(tmp_path / "3" / name, base_path / str(version) / name, lambda new=version: answering_version(client) == new)
        until(lambda new=version: answering_version(client) == new)
        assert tf.make_ndarray(client.predict.Predict(asked(x=ROWS)).outputs["y"])[0, 0] == 3


def copied_slowly(source, target, is_live):
    content = source.read_bytes()
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        for part in np.array_split(np.frombuffer(content, np.uint8), 5):
            assert not is_live()
            file.write(part.tobytes())
            file.flush()
            time.sleep(0.02)


def test_half_a_copy_is_refused_by_a_reload_and_by_the_start_too(start, base_path):
    shutil.rmtree(base_path / "2" / "variables")
    client = start(ModelConfig("tiny", base_path, VersionPolicy("specific", versions=(1,))))
    code, details = refusal(client.models.HandleReloadConfigRequest, reload_of(base_path, 2))
    assert (code, "variables.index is missing" in details) == (StatusCode.NOT_FOUND, True)
    assert answering_version(client) == 1
    with pytest.raises(AisleError, match="variables.index is missing"):
        start(ModelConfig("tiny", base_path))


def test_a_folder_that_changes_while_it_is_loaded_isnt_served(start, base_path, monkeypatch):
    """A vocabulary that is cut short loads without a word: only that somebody is writing tells."""
    write_tiny_model(base_path.parent / "3", 3)
    client = start(ModelConfig("tiny", base_path), file_system_poll_wait_seconds=FAST)
    manager, load = client.server.models, client.server.models._load_model

    def written_to(name, version, folder):
        loaded = load(name, version, folder)
        with (folder / "assets" / "words.txt").open("a", encoding="utf-8") as file:
            file.write("one word more\n")
        return loaded

    monkeypatch.setattr(manager, "_load_model", written_to)
    (base_path.parent / "3").rename(base_path / "3")
    until(lambda: states(client).get(3) == "END")
    assert "assets/words.txt changed while the model was loaded" in error_message(client, 3)
    assert answering_version(client) == 2
    monkeypatch.undo()
    (base_path / "3" / "assets" / "words.txt").write_text("all words\n", encoding="utf-8")
    until(lambda: answering_version(client) == 3)


def test_one_request_rolls_back_and_another_forward(start, base_path):
    client = start(ModelConfig("tiny", base_path))
    for versions, labels in (((1,), {"stable": 1}), ((1, 2), {"stable": 1, "canary": 2}), ((2,), {"stable": 2})):
        client.models.HandleReloadConfigRequest(reload_of(base_path, *versions, labels=labels))
        assert answering_version(client) == max(versions)
        assert {label: answering_version(client, label=label) for label in labels} == labels
    until(lambda: states(client) == {1: "END", 2: "AVAILABLE"})
    assert refusal(client.predict.Predict, asked(x=ROWS, label="canary"))[0] == StatusCode.INVALID_ARGUMENT


def test_a_reload_that_cant_be_done_changes_nothing(start, base_path):
    client = start(ModelConfig("tiny", base_path, VersionPolicy("specific", versions=(1,)), {"stable": 1}))
    (base_path / "3").mkdir()
    outside = base_path.parent.parent / "elsewhere"
    shutil.copytree(base_path, outside)
    wrong = [
        (reload_of(base_path, 9), StatusCode.NOT_FOUND, "there is no folder of version 9. Found: 1, 2, 3"),
        (reload_of(base_path, 3, 2), StatusCode.NOT_FOUND, "can't be loaded"),
        (reload_of(base_path, 2, labels={"stable": 3}), StatusCode.FAILED_PRECONDITION, "names version 3, which isn't available"),
        (reload_of(base_path.parent / "none", 1), StatusCode.NOT_FOUND, "can't be read"),
        (reload_of(outside, 1), StatusCode.PERMISSION_DENIED, "isn't in a folder this server may load from"),
        (reload_of(base_path / ".." / ".." / "elsewhere", 1), StatusCode.PERMISSION_DENIED, "isn't in a folder"),
        (model_management_pb2.ReloadConfigRequest(), StatusCode.INVALID_ARGUMENT, "expected model_config_list"),
        (reload_of("tiny", 1), StatusCode.INVALID_ARGUMENT, "isn't an absolute path"),
    ]
    for request, code, message in wrong:
        found, details = refusal(client.models.HandleReloadConfigRequest, request)
        assert (found, message in details) == (code, True), details
        assert answering_version(client) == answering_version(client, label="stable") == 1


def test_what_no_configuration_can_hold_is_an_invalid_argument_and_no_traceback(start, base_path, caplog):
    client = start(ModelConfig("tiny", base_path, VersionPolicy("specific", versions=(1,)), {"stable": 1}))
    logging.getLogger("serving").addHandler(caplog.handler)
    (base_path.parent / "loop").symlink_to(base_path.parent / "loop")
    wrong = [
        (reload_of(f"{base_path}\0x", 1), "holds a NUL character"),
        (reload_of(base_path.parent / "loop", 1), "goes round in a circle of links"),
        (reload_of(base_path.parent / "loop" / "tiny", 1), "goes round in a circle of links"),
        (reload_of(f"{base_path.parent}/{'a/' * 5_000}", 1), "a path has 4000 at most"),
        (reload_of(base_path, 1, labels={"": 1}), "version label '' isn't one a request can hold"),
        (reload_of(base_path, 1, labels={"a/b": 1}), "version label 'a/b' isn't one"),
        (reload_of(base_path, 1, labels={"a" * 100_000: 1}), "isn't one a request can hold"),
        (reload_of(base_path, 1, labels={str(number): 1 for number in range(1_001)}), "1001 labels, expected 1000 at most"),
        (reload_of(base_path, 1, name="a\0b"), "name 'a\\x00b' isn't one"),
        (reload_of(base_path, -1), "specific.versions holds -1"),
        (reload_of(base_path, *range(100_000)), "names 100000 versions, expected 1000 at most"),
    ]
    for request, message in wrong:
        code, details = refusal(client.models.HandleReloadConfigRequest, request)
        assert (code, message in details) == (StatusCode.INVALID_ARGUMENT, True), details
        assert len(details) < 1_000
    assert answering_version(client) == answering_version(client, label="stable") == 1
    assert states(client) == {1: "AVAILABLE"}
    assert [record for record in caplog.records if record.exc_info] == []
    logging.getLogger("serving").removeHandler(caplog.handler)


def config_of(base_path, version):
    return (
        f'model_config_list {{ config {{ name: "tiny" base_path: "{base_path}" '
        f"model_version_policy {{ specific {{ versions: {version} }} }} }} }}"
    )


@pytest.mark.parametrize("disk_s", [0.0, FAST, 1_000.0])
def test_a_configuration_file_that_changes_is_in_force_soon(start, base_path, tmp_path, disk_s):
    (tmp_path / "models.config").write_text(config_of(base_path, 1), encoding="utf-8")
    options = {"model_config_file_poll_wait_seconds": FAST, "file_system_poll_wait_seconds": disk_s}
    client = start(model_config_file=tmp_path / "models.config", **options)
    assert answering_version(client) == 1
    (tmp_path / "models.config").write_text(config_of(base_path, 2), encoding="utf-8")
    until(lambda: answering_version(client) == 2)


def test_a_configuration_file_that_cant_be_used_changes_nothing_and_the_log_says_why(start, base_path, tmp_path, caplog):
    path = tmp_path / "models.config"
    path.write_text(config_of(base_path, 1), encoding="utf-8")
    client = start(model_config_file=path, model_config_file_poll_wait_seconds=FAST)
    logging.getLogger("serving").addHandler(caplog.handler)
    told = {
        f"{path}: this isn't ModelServerConfig": "model_config_list {",
        f"{path}: model_config_list: it holds 0": "model_config_list {}",
    }
    for message, text in told.items():
        path.write_text(text, encoding="utf-8")
        until(lambda message=message: f"reload refused={message}" in caplog.text)
    path.unlink()
    until(lambda: f"reload refused={path}: can't be read: No such file" in caplog.text)
    logging.getLogger("serving").removeHandler(caplog.handler)
    assert answering_version(client) == 1
    path.write_text(config_of(base_path, 2), encoding="utf-8")
    until(lambda: answering_version(client) == 2)


def test_a_refused_reload_lets_nobody_see_what_it_loaded(start, base_path):
    """The first model could be served, from another folder even; the second can't."""
    client = start(ModelConfig("tiny", base_path, VersionPolicy("specific", versions=(1,)), {"stable": 1}))
    write_tiny_model(base_path.parent / "other" / "1", 7)
    shutil.copytree(base_path / "2", base_path.parent / "other" / "2")
    request = reload_of(base_path.parent / "other", 1, 2)
    broken = request.config.model_config_list.config.add(name="broken", base_path=str(base_path.parent / "broken"))
    (base_path.parent / "broken" / "1").mkdir(parents=True)
    (base_path.parent / "broken" / "1" / "saved_model.pb").write_bytes(b"nonsense")
    stop, seen = threading.Event(), set()

    def watch():
        while not stop.is_set():
            response = client.predict.Predict(asked(x=ROWS))
            seen.add((response.model_spec.version.value, float(tf.make_ndarray(response.outputs["y"])[0, 0])))

    thread = threading.Thread(target=watch)
    thread.start()
    refused = [refusal(client.models.HandleReloadConfigRequest, request) for _ in range(3)]
    stop.set()
    thread.join()
    assert all("can't be loaded" in details for _, details in refused), broken
    assert seen == {(1, 1.0)}
    assert states(client) == {1: "AVAILABLE"}
    assert client.http("/v1/models/broken")[0] == 404


def test_reloads_at_the_same_time_end_in_one_of_the_states_that_were_asked(start, base_path):
    client = start(ModelConfig("tiny", base_path))
    wanted = [((1,), {"stable": 1}), ((2,), {"stable": 2}), ((1, 2), {"stable": 1, "canary": 2}), ((1, 2), {"stable": 2, "canary": 1})]
    for _ in range(5):
        calls = [
            client.models.HandleReloadConfigRequest.future(reload_of(base_path, *versions, labels=labels)) for versions, labels in wanted
        ]
        for call in calls:
            call.result(timeout=60)
        until(lambda: all(state in ("AVAILABLE", "END") for state in states(client).values()))
        available = tuple(sorted(version for version, state in states(client).items() if state == "AVAILABLE"))
        found = {}
        for label in ("stable", "canary"):
            with contextlib.suppress(grpc.RpcError):
                found[label] = answering_version(client, label=label)
        assert (available, found) in wanted


def test_a_label_names_a_version_that_stays(start, base_path):
    client = start(ModelConfig("tiny", base_path, VersionPolicy("all")))
    code, details = refusal(client.models.HandleReloadConfigRequest, reload_of(base_path, 1, labels={"stable": 2}))
    assert (code, "names version 2, which isn't available. Available: 1" in details) == (StatusCode.FAILED_PRECONDITION, True)


def test_a_version_that_is_being_loaded_when_the_server_stops_is_freed(start, base_path, monkeypatch):
    client = start(ModelConfig("tiny", base_path), file_system_poll_wait_seconds=FAST)
    manager, load = client.server.models, client.server.models._load_model
    loads, may_end = [], threading.Event()

    def slow(*words):
        loads.append(load(*words))
        assert may_end.wait(60)
        return loads[-1]

    monkeypatch.setattr(manager, "_load_model", slow)
    freed = []
    for version in (3, 4):
        shutil.copytree(base_path / "2", base_path.parent / str(version))
        (base_path.parent / str(version)).rename(base_path / str(version))
    until(lambda: loads)
    monkeypatch.setattr(loads[0].model, "close", lambda: freed.append(loads[0]))
    stopped_s = time.monotonic()
    client.server.stop(0.1)
    assert time.monotonic() - stopped_s < 5
    assert client.server.is_at_work
    may_end.set()
    until(lambda: not client.server.is_at_work)
    assert (manager.served(), freed, len(loads)) == ({}, loads, 1)


def test_a_reload_that_waits_when_the_server_stops_is_told(start, base_path, monkeypatch):
    client = start(ModelConfig("tiny", base_path, VersionPolicy("specific", versions=(1,))))
    manager, load = client.server.models, client.server.models._load_model
    is_loading, may_end = threading.Event(), threading.Event()

    def slow(*words):
        is_loading.set()
        assert may_end.wait(60)
        return load(*words)

    monkeypatch.setattr(manager, "_load_model", slow)
    first = client.models.HandleReloadConfigRequest.future(reload_of(base_path, 2))
    assert is_loading.wait(20)
    second = client.models.HandleReloadConfigRequest.future(reload_of(base_path, 1))
    until(lambda: manager._reloads)
    manager.close(timeout_s=0.1)
    assert (first.exception().code(), second.exception().code()) == (StatusCode.UNAVAILABLE, StatusCode.UNAVAILABLE)
    may_end.set()
    until(lambda: not manager._thread.is_alive())
    assert manager.served() == {}


def test_reloads_that_wait_are_bounded_so_that_requests_have_threads(start, base_path, monkeypatch):
    client = start(ModelConfig("tiny", base_path, VersionPolicy("specific", versions=(1,))), max_in_flight=2)
    load, is_loading, may_end = client.server.models._load_model, threading.Event(), threading.Event()

    def slow(*words):
        is_loading.set()
        assert may_end.wait(60)
        return load(*words)

    monkeypatch.setattr(client.server.models, "_load_model", slow)
    calls = [client.models.HandleReloadConfigRequest.future(reload_of(base_path, 2)) for _ in range(60)]
    assert is_loading.wait(20)
    until(lambda: sum(call.done() for call in calls) == 60 - 8)
    assert {call.exception().code() for call in calls if call.done()} == {StatusCode.RESOURCE_EXHAUSTED}
    assert answering_version(client) == 1
    may_end.set()
    assert sum(call.exception() is None for call in calls) == 8
    assert answering_version(client) == 2


def test_a_model_that_is_left_out_of_a_reload_is_gone_and_a_new_one_there(start, base_path):
    shutil.copytree(base_path, base_path.parent / "other")
    client = start(ModelConfig("tiny", base_path))
    client.models.HandleReloadConfigRequest(reload_of(base_path.parent / "other", 1, name="other"))
    assert answering_version(client, name="other") == 1
    until(lambda: refusal(client.predict.Predict, asked(x=ROWS))[0] == StatusCode.NOT_FOUND)


def test_no_request_fails_while_versions_swap(start, base_path):
    client = start(ModelConfig("tiny", base_path), max_in_flight=64)
    stop, wrong, count = threading.Event(), [], []

    def ask():
        while not stop.is_set():
            try:
                response = client.predict.Predict(asked(x=ROWS))
                factor = response.model_spec.version.value
                if not np.array_equal(tf.make_ndarray(response.outputs["y"]), ROWS * factor):
                    wrong.append("mixed versions")
                count.append(factor)
            except grpc.RpcError as error:
                wrong.append(error.details())

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(8):
        client.models.HandleReloadConfigRequest(reload_of(base_path, 1 + number % 2))
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert set(count) == {1, 2}


def test_a_request_that_is_running_ends_although_its_version_goes(start, base_path):
    client = start(ModelConfig("tiny", base_path))
    running = client.predict.Predict.future(asked("slow", steps=np.array([6_000], np.int64)))
    until(lambda: client.server.in_flight.count == 1)
    client.models.HandleReloadConfigRequest(reload_of(base_path, 1))
    assert running.result(timeout=60).model_spec.version.value == 2


def test_memory_of_a_version_that_went_is_freed(start, base_path):
    client = start(ModelConfig("tiny", base_path))
    with client.server.models.borrow(Target("tiny")) as loaded:
        model = weakref.ref(loaded.model)
    del loaded
    client.models.HandleReloadConfigRequest(reload_of(base_path, 1))
    until(lambda: model() is None)
    assert model() is None


# Warm-up.


def write_warmup(folder, *requests):
    (folder / WARMUP_FILE).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / WARMUP_FILE)) as writer:
        for request in requests:
            writer.write(prediction_log_pb2.PredictionLog(predict_log={"request": request}).SerializeToString())


def test_recorded_requests_run_before_the_first_client_asks(start, base_path):
    write_warmup(base_path / "2", asked("text", title=["a"], price=np.array([1], np.float32)))
    client = start(ModelConfig("tiny", base_path))
    assert client.server.models.used_signatures("tiny") == {"text"}
    answering_version(client)
    client.models.HandleReloadConfigRequest(reload_of(base_path, 1))
    # What clients of the version before have called is ready in the next one, too.
    assert client.server.models.used_signatures("tiny") >= {"serving_default", "text"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"nonsense" * 5, "request 0 of the warm-up"),
        (asked("nothing"), "request 1 of the warm-up can't be answered: model 'tiny' has no signature"),
    ],
)
def test_a_version_whose_warm_up_fails_doesnt_go_live(base_path, content, message):
    if isinstance(content, bytes):
        (base_path / "2" / WARMUP_FILE).parent.mkdir(exist_ok=True)
        (base_path / "2" / WARMUP_FILE).write_bytes(content)
    else:
        write_warmup(base_path / "2", content)
    server = ModelServer(ServerOptions(models=(ModelConfig("tiny", base_path),), port=0, rest_api_port=0))
    with pytest.raises(AisleError, match=message):
        server.start()
    server.stop(0)


def test_a_folder_of_a_version_is_followed_by_number_not_by_letters(start, base_path):
    write_tiny_model(base_path / "10", 10)
    (base_path / "notes").mkdir()
    client = start(ModelConfig("tiny", base_path))
    assert answering_version(client) == 10


def test_a_version_is_loaded_by_a_thread_that_lets_requests_go_first(start, base_path, monkeypatch):
    client = start(ModelConfig("tiny", base_path, VersionPolicy("specific", versions=(1,))))
    manager, found = client.server.models, []
    load = manager._load_model

    def loaded(*words):
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return load(*words)

    monkeypatch.setattr(manager, "_load_model", loaded)
    client.models.HandleReloadConfigRequest(reload_of(base_path, 2))
    assert answering_version(client) == 2
    (niceness,) = found
    assert niceness > os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
