"""The life of a model's versions as a state machine, which decides what to load and unload next; plain Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from grpc import StatusCode


class State(IntEnum):
    """Where a version is in its life; names and numbers are those of TensorFlow Serving's `ModelVersionStatus`."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class VersionState:
    """What is known of one version.

    Attributes:
        state: where it is in its life.
        code: OK, or why it could not be loaded.
        message: says more about `code`.
        attempts: how often loading it was tried in vain.
        retry_at_s: when it may be tried again, in seconds of a clock that never goes back.
    """

    state: State
    code: StatusCode = StatusCode.OK
    message: str = ""
    attempts: int = 0
    retry_at_s: float = 0.0


@dataclass(frozen=True)
class RetryPolicy:
    """How often a version that can't be loaded is tried again.

    Attributes:
        max_retries: after the first attempt.
        interval_s: between two attempts.
    """

    max_retries: int = 5
    interval_s: float = 60.0

    def failed(self, before: VersionState, code: StatusCode, message: str, now_s: float) -> VersionState:
        """Returns the state after an attempt in vain."""
        return VersionState(State.END, code, message, before.attempts + 1, now_s + self.interval_s)

    def may_load(self, state: VersionState | None, now_s: float) -> bool:
        """Returns whether a wanted version should be loaded now."""
        if state is None or (state.state == State.END and state.code == StatusCode.OK):
            return True
        return state.state == State.END and state.attempts <= self.max_retries and now_s >= state.retry_at_s


def to_load(states: Mapping[int, VersionState], wanted: frozenset[int], retry: RetryPolicy, now_s: float) -> int | None:
    """Returns the version to load next, the highest first; None where nothing is to be loaded.

    >>> to_load({1: VersionState(State.AVAILABLE)}, frozenset({1, 2, 3}), RetryPolicy(), 0.0)
    3
    """
    return max((version for version in wanted if retry.may_load(states.get(version), now_s)), default=None)


def to_unload(states: Mapping[int, VersionState], wanted: frozenset[int], is_served: bool = True) -> list[int]:
    """Returns the versions to unload: nothing as long as no wanted version has taken over.

    Args:
        states: of every version that is known.
        wanted: the versions to serve. None at all: what is there stays, since a folder that was emptied is an accident.
        is_served: whether the model is to be served at all; one that isn't needs nobody to take over.
    """
    available = {version for version, state in states.items() if state.state == State.AVAILABLE}
    if is_served and not available & wanted:
        return []
    return sorted(available - wanted)
