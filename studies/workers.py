"""Runs tasks in processes of their own and hands over what they find as it comes; none outlives the program."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from schemas.errors import AisleError

Found = Any
# Makes, once in a process, what runs a task. It crosses to the process by its name, so it is a function of a module.
Prepare = Callable[[Any], Callable[[Any], Iterator[Found]]]
_FOUND, _DONE, _REFUSED, _READY = "found", "done", "refused", "ready"
# Each process has a core of its own; threads of a linear algebra library would fight for it.
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_END_S = 5.0


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection[Any, Any]
    task: int = -1


def in_workers(prepare: Prepare, shared: Any, tasks: Sequence[Any], num_workers: int) -> Iterator[tuple[int, Found | None]]:
    """Yields (task number, what it found) as processes find it, and (task number, None) when a task is done.

    Args:
        prepare: gets `shared`, returns what runs a task; a function of a module, called once a process.
        shared: what every process needs, picklable and small: paths, not arrays.
        tasks: picklable.
        num_workers: processes at most.

    Raises:
        AisleError: what a task raised, or that its process was killed. Then, or when the caller stops, all processes end.
    """
    workers: list[_Worker] = []
    waiting = list(range(len(tasks)))[::-1]
    left = len(tasks)
    try:
        with _one_thread():
            workers += [_start(prepare, shared) for _ in range(min(num_workers, len(tasks)))]
        while left:
            ready = wait([worker.pipe for worker in workers])
            for worker in [each for each in workers if each.pipe in ready]:
                kind, content = _received(worker)
                if kind == _REFUSED:
                    raise content
                if kind == _FOUND:
                    yield worker.task, content
                    continue
                if kind == _DONE:
                    left -= 1
                    yield worker.task, None
                if waiting:
                    worker.task = waiting.pop()
                    worker.pipe.send(tasks[worker.task])
    finally:
        _end(workers)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _start(prepare: Prepare, shared: Any) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, prepare, shared), daemon=True)
    resource_tracker.ensure_running()  # Where it starts, it lets signals through again.
    # A process that is starting would answer Ctrl-C with a traceback, until it can say that it doesn't listen to it.
    heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, heard)
    theirs.close()  # Else the end of the process wouldn't end the pipe.
    return _Worker(process, ours)


def _received(worker: _Worker) -> tuple[str, Any]:
    try:
        kind, content = worker.pipe.recv()
        return kind, content
    except (EOFError, ConnectionError):
        worker.process.join(_END_S)
        raise AisleError(
            f"a worker ended with code {worker.process.exitcode}, most often for want of memory. "
            "Lower --workers, and give the same command again."
        ) from None


def _end(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.join(_END_S)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join(_END_S)
        worker.pipe.close()


def _work(pipe: Connection[Any, Any], prepare: Prepare, shared: Any) -> None:
    """Runs the tasks that come through the pipe until it ends; the main program alone hears Ctrl-C, and ends this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, ConnectionError):
        try:
            run_task = prepare(shared)
            pipe.send((_READY, None))
            while True:
                for found in run_task(pipe.recv()):
                    pipe.send((_FOUND, found))
                pipe.send((_DONE, None))
        except AisleError as error:
            pipe.send((_REFUSED, error))
