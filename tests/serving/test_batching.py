"""Rows of requests that arrive together become one call, and nobody waits, fails or gets another's answer for it."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from grpc import StatusCode

from serving.model_server.batching import Batcher, BatchingParameters
from serving.model_server.model_config import ModelConfig
from serving.status import ServingError
from tests.serving.test_protocols import ROWS, asked, refusal
from tests.serving.test_swaps import until


class Model:
    """Doubles numbers, refuses negative ones, and keeps the number and sizes of its calls."""

    def __init__(self):
        self.sizes, self.num_calls, self.is_open = [], 0, threading.Event()
        self.is_open.set()

    def __call__(self, inputs):
        self.num_calls += 1
        self.is_open.wait(10)
        self.sizes.append(len(inputs["x"]))
        if (inputs["x"] < 0).any():
            raise ServingError(StatusCode.INVALID_ARGUMENT, "negative")
        return {"y": inputs["x"] * 2}


@pytest.fixture
def batched():
    made = []

    def make(**parameters):
        made.append(Batcher(BatchingParameters(**{"num_batch_threads": 1, **parameters})))
        return made[-1]

    yield make
    for batcher in made:
        batcher.close()


def together(batcher, model, requests, deadline_s=None):
    """Sends requests while the only thread is kept busy by another, so that they meet in the queue; returns answers or errors."""
    model.is_open.clear()

    def ask(numbers):
        try:
            return batcher.run("model", model, {"x": np.array(numbers)}, deadline_s)["y"].tolist()
        except ServingError as error:
            return error.code

    with ThreadPoolExecutor(len(requests) + 1) as pool:
        busy = pool.submit(lambda: batcher.run("busy", model, {"x": np.array([0])}))
        time.sleep(0.1)
        answers = [pool.submit(ask, numbers) for numbers in requests]
        time.sleep(0.2 if deadline_s is None else max(0.0, deadline_s - time.monotonic()) + 0.2)
        model.is_open.set()
        busy.result()
        return [answer.result() for answer in answers]


def test_requests_that_meet_are_one_call_and_everybody_gets_their_own_rows(batched):
    model = Model()
    assert together(batched(), model, [[1], [2, 3], [4]]) == [[2], [4, 6], [8]]
    assert model.sizes == [1, 4]


def test_a_batch_never_holds_more_rows_than_it_may(batched):
    model = Model()
    answers = together(batched(max_batch_size=3), model, [[1, 2], [3, 4], [5]])
    assert sorted(answers) == [[2, 4], [6, 8], [10]]
    assert max(model.sizes) <= 3


def test_a_row_the_model_refuses_fails_its_own_request_only(batched):
    assert together(batched(), Model(), [[1], [-2], [3]]) == [[2], StatusCode.INVALID_ARGUMENT, [6]]


def test_a_full_queue_is_refused(batched):
    answers = together(batched(max_batch_size=2, max_enqueued_batches=1), Model(), [[1, 2], [3], [4]])
    assert answers.count(StatusCode.UNAVAILABLE) >= 1
    assert all(isinstance(answer, list) or answer == StatusCode.UNAVAILABLE for answer in answers)


def test_who_waits_longer_than_the_deadline_is_told_and_not_run(batched):
    model = Model()
    assert together(batched(), model, [[1]], time.monotonic() + 0.3) == [StatusCode.DEADLINE_EXCEEDED]
    time.sleep(0.1)
    assert model.sizes == [1]


def test_the_first_request_waits_for_others_but_not_longer_than_it_was_told_to(batched):
    batcher, model = batched(batch_timeout_micros=200_000), Model()
    with ThreadPoolExecutor(2) as pool:
        started_s = time.monotonic()
        first = pool.submit(batcher.run, "model", model, {"x": np.array([1])})
        time.sleep(0.05)
        second = pool.submit(batcher.run, "model", model, {"x": np.array([2])})
        assert (first.result()["y"].tolist(), second.result()["y"].tolist()) == ([2], [4])
    assert model.sizes == [2]
    assert time.monotonic() - started_s >= 0.2


def test_batches_are_padded_to_an_allowed_size(batched):
    model = Model()
    assert together(batched(max_batch_size=8, allowed_batch_sizes=(4, 8)), model, [[1], [2, 3]]) == [[2], [4, 6]]
    assert model.sizes == [4, 4]


def test_a_request_larger_than_a_batch_is_refused_or_cut(batched):
    inputs = {"x": np.arange(5)}
    with pytest.raises(ServingError, match="the request has 5 rows, batches hold 2"):
        batched(max_batch_size=2).run("model", Model(), inputs)
    model = Model()
    cut = batched(max_batch_size=2, enable_large_batch_splitting=True)
    assert cut.run("model", model, inputs)["y"].tolist() == [0, 2, 4, 6, 8]
    assert model.sizes == [2, 2, 1]


def test_a_call_that_breaks_fails_those_who_wait_and_not_the_batcher(batched):
    batcher = batched()

    def broken(inputs):
        raise ZeroDivisionError("a bug")

    with pytest.raises(ServingError, match="a bug"):
        batcher.run("broken", broken, {"x": np.array([1])})
    assert batcher.run("model", Model(), {"x": np.array([1])})["y"].tolist() == [2]


def test_a_server_that_batches_answers_as_one_that_doesnt(start, base_path):
    client = start(ModelConfig("tiny", base_path), enable_batching=True)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: client.predict.Predict(asked(x=ROWS * number)), range(24)))
    assert [list(one.outputs["y"].float_val) for one in found] == [[2.0 * n * v for v in (1, 2, 3, 4)] for n in range(24)]
    assert client.http("/v1/models/tiny:predict", {"signature_name": "scalar", "inputs": 1}) == (200, {"outputs": 2})
    code, details = refusal(client.predict.Predict, asked("classify", inputs=[b"\x01"]))
    assert (code, "signature 'classify'" in details) == (StatusCode.INVALID_ARGUMENT, True)
    _, page = client.http("/monitoring/prometheus/metrics")
    assert "aisle_serving_batch_rows_count 0.0" not in page


def test_the_end_waits_once_for_all_calls_that_dont_return(batched):
    batcher, model = batched(num_batch_threads=8, batch_timeout_micros=0), Model()
    model.is_open.clear()
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(batcher.run, number, model, {"x": np.ones(1)}) for number in range(8)]
        until(lambda: model.num_calls == 8)
        started_s = time.monotonic()
        batcher.close(timeout_s=0.3)
        assert time.monotonic() - started_s < 1.5  # One after the other they would take 2.4.
        model.is_open.set()
        assert all(call.result()["y"] == 2 for call in calls)
