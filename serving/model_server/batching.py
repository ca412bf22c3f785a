"""Puts rows of requests that arrive together into one call, since a call of TensorFlow costs much the same for 1 row as for 10."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field

import numpy as np
from grpc import StatusCode

from schemas.errors import AisleError
from serving.model_server.tensors import Array
from serving.status import ServingError, invalid

Arrays = Mapping[str, Array]
Call = Callable[[Arrays], dict[str, Array]]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchingParameters:
    """How requests are put together; names and defaults are TensorFlow Serving's.

    Attributes:
        max_batch_size: rows of one call.
        batch_timeout_micros: how long the first request of a batch waits for others, in microseconds.
        max_enqueued_batches: full batches that may wait for one signature; more is refused.
        num_batch_threads: calls at a time.
        allowed_batch_sizes: sizes that batches are padded to, rising, `max_batch_size` last; none: any size.
        enable_large_batch_splitting: whether a request of more rows than `max_batch_size` is cut rather than refused.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = 2
    allowed_batch_sizes: tuple[int, ...] = ()
    enable_large_batch_splitting: bool = False

    def __post_init__(self) -> None:
        for name, lowest in (("max_batch_size", 1), ("batch_timeout_micros", 0), ("max_enqueued_batches", 1), ("num_batch_threads", 1)):
            if getattr(self, name) < lowest:
                raise invalid(f"batching parameters: {name} is {getattr(self, name)}, expected {lowest} or more.")
        sizes = self.allowed_batch_sizes
        if sizes and (sizes[-1] != self.max_batch_size or list(sizes) != sorted(set(sizes)) or sizes[0] < 1):
            raise invalid(
                f"batching parameters: allowed_batch_sizes {list(sizes)} must rise and end with max_batch_size, {self.max_batch_size}."
            )

    def padded(self, num_rows: int) -> int:
        """Returns the size a batch of so many rows is run with."""
        return next((size for size in self.allowed_batch_sizes if size >= num_rows), num_rows)


@dataclass
class _Task:
    inputs: Arrays
    num_rows: int
    arrived_s: float
    done: Future[dict[str, Array]] = field(default_factory=Future)


@dataclass
class _Queue:
    call: Call
    tasks: deque[_Task] = field(default_factory=deque)
    num_rows: int = 0


class Batcher:
    """Threads that take what has arrived for one signature and run it as one call.

    A row that the model refuses fails its own request only: the others of its batch are run again without it.

    Args:
        parameters: see there.
        observe: told the number of rows of every batch.
    """

    def __init__(self, parameters: BatchingParameters, observe: Callable[[int], None] = lambda rows: None) -> None:
        self.parameters = parameters
        self._observe = observe
        self._changed = threading.Condition()
        self._queues: OrderedDict[Hashable, _Queue] = OrderedDict()
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batch-{number}", daemon=True) for number in range(parameters.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, key: Hashable, call: Call, inputs: Arrays, deadline_s: float | None = None) -> dict[str, Array]:
        """Returns what `call` answers to these rows; it may have been asked about rows of other requests as well.

        Args:
            key: requests of one key may share a call.
            call: of a signature.
            inputs: arrays with the same number of rows.
            deadline_s: of the monotonic clock; who is still waiting by then gets DEADLINE_EXCEEDED and isn't run.

        Raises:
            ServingError: UNAVAILABLE where too much is waiting, or what the call raises.
        """
        num_rows = len(next(iter(inputs.values())))
        most = self.parameters.max_batch_size
        if num_rows > most and not self.parameters.enable_large_batch_splitting:
            raise invalid(f"the request has {num_rows} rows, batches hold {most}. Send fewer, or set enable_large_batch_splitting.")
        pieces = [{name: array[start : start + most] for name, array in inputs.items()} for start in range(0, max(num_rows, 1), most)]
        tasks = self._submit(key, call, pieces)
        answers = [_result(task, deadline_s) for task in tasks]
        return answers[0] if len(answers) == 1 else {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    def _submit(self, key: Hashable, call: Call, pieces: Sequence[Arrays]) -> list[_Task]:
        now_s = time.monotonic()
        tasks = [_Task(piece, len(next(iter(piece.values()))), now_s) for piece in pieces]
        with self._changed:
            queue = self._queues.setdefault(key, _Queue(call))
            rows = sum(task.num_rows for task in tasks)
            room = self.parameters.max_enqueued_batches * self.parameters.max_batch_size
            if self._is_closed or queue.num_rows + rows > room:
                why = "is shutting down" if self._is_closed else f"has {queue.num_rows} rows waiting, room for {room}"
                raise ServingError(StatusCode.UNAVAILABLE, f"batching: the server {why}. Try again later.")
            queue.tasks.extend(tasks)
            queue.num_rows += rows
            self._changed.notify()
        return tasks

    @property
    def is_at_work(self) -> bool:
        """Whether one of its threads hasn't ended."""
        return any(thread.is_alive() for thread in self._threads)

    def close(self, timeout_s: float = 5.0) -> None:
        """Runs what is waiting and ends the threads, but waits for all of those no longer than this: a call may never return."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        end_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, end_s - time.monotonic()))

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            call, tasks = taken
            waiting = [task for task in tasks if task.done.set_running_or_notify_cancel()]
            try:
                self._answer(call, waiting)
            except Exception as error:  # A thread that dies would leave everybody waiting.
                log.exception("batching failed=%d", len(waiting))
                for task in waiting:
                    if not task.done.done():
                        task.done.set_exception(ServingError(StatusCode.INTERNAL, f"batching: {error}"))

    def _take(self) -> tuple[Call, list[_Task]] | None:
        with self._changed:
            while True:
                key, wait_s = self._ready()
                if key is not None:
                    return self._filled(key)
                if self._is_closed and not self._queues:
                    return None
                self._changed.wait(wait_s)

    def _ready(self) -> tuple[Hashable | None, float | None]:
        """Returns the queue whose batch is full or has waited long enough, else how long until one has; queues take turns."""
        wait_s: float | None = None
        now_s = time.monotonic()
        for key, queue in self._queues.items():
            due_s = queue.tasks[0].arrived_s + self.parameters.batch_timeout_micros / 1e6 - now_s
            if queue.num_rows >= self.parameters.max_batch_size or due_s <= 0 or self._is_closed:
                return key, None
            wait_s = due_s if wait_s is None else min(wait_s, due_s)
        return None, wait_s

    def _filled(self, key: Hashable) -> tuple[Call, list[_Task]]:
        queue = self._queues[key]
        batch = [queue.tasks.popleft()]
        rows = batch[0].num_rows
        while queue.tasks and rows + queue.tasks[0].num_rows <= self.parameters.max_batch_size:
            batch.append(queue.tasks.popleft())
            rows += batch[-1].num_rows
        queue.num_rows -= rows
        if queue.tasks:
            self._queues.move_to_end(key)
            self._changed.notify()
        else:
            del self._queues[key]
        return queue.call, batch

    def _answer(self, call: Call, tasks: Sequence[_Task]) -> None:
        if not tasks:
            return
        try:
            answers = self._together(call, tasks)
        except AisleError as error:
            if len(tasks) == 1:
                tasks[0].done.set_exception(error)
                return
            for task in tasks:
                self._answer(call, [task])
            return
        for task, answer in zip(tasks, answers, strict=True):
            task.done.set_result(answer)

    def _together(self, call: Call, tasks: Sequence[_Task]) -> list[dict[str, Array]]:
        total = sum(task.num_rows for task in tasks)
        size = self.parameters.padded(total)
        self._observe(total)
        if len(tasks) == 1 and size == total:
            return [call(tasks[0].inputs)]
        inputs = {name: np.concatenate([task.inputs[name] for task in tasks]) for name in tasks[0].inputs}
        if size > total > 0:
            inputs = {name: np.concatenate([array, np.repeat(array[:1], size - total, axis=0)]) for name, array in inputs.items()}
        outputs = call(inputs)
        if any(array.shape[:1] != (size,) for array in outputs.values()):
            raise ServingError(StatusCode.INTERNAL, f"batching: the model answered {size} rows with another number of rows.")
        ends = np.cumsum([task.num_rows for task in tasks])
        return [{name: array[end - task.num_rows : end] for name, array in outputs.items()} for task, end in zip(tasks, ends, strict=True)]


def _result(task: _Task, deadline_s: float | None) -> dict[str, Array]:
    try:
        return task.done.result(None if deadline_s is None else max(0.0, deadline_s - time.monotonic()))
    except FutureTimeoutError:
        task.done.cancel()
        raise ServingError(StatusCode.DEADLINE_EXCEEDED, "batching: the deadline passed while the request waited.") from None
