"""Follows a run on Kubeflow until it ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.kubeflow.kfp_api import ApiError, KfpApi, Row
from pipeline.kubeflow.submission import FAILED_STATES, SUCCEEDED

ENDS = (SUCCEEDED, *(state for state in FAILED_STATES if state != "CANCELING"))
_SILENT_STATES = ("", "RUNTIME_STATE_UNSPECIFIED", "PENDING")


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes:
        state: such as `SUCCEEDED` or `FAILED`.
        reason: what the server says about it, or the stages that failed; empty after a success.
    """

    state: str
    reason: str = ""


@dataclass
class Follower:
    """Looks at a run every now and then, and says what changed.

    Attributes:
        api: the server.
        say: takes one line for each change.
        pause_s: seconds between two looks.
        patience_s: seconds the server may be away; the run goes on meanwhile.
        sleep: waits that many seconds.
        now_s: a clock in seconds that never goes back.
    """

    api: KfpApi
    say: Callable[[str], None]
    pause_s: float = 10.0
    patience_s: float = 300.0
    sleep: Callable[[float], None] = time.sleep
    now_s: Callable[[], float] = time.monotonic
    _said: dict[str, str] = field(default_factory=dict)

    def follow(self, run_id: str) -> Ending:
        """Returns how the run ended, once it has.

        Raises:
            ApiError: the server was away for longer than `patience_s`, or refuses to say.
        """
        seen_s = self.now_s()
        while True:
            try:
                row = self.api.run(run_id)
            except ApiError as error:
                if not error.passing or self.now_s() - seen_s > self.patience_s:
                    raise
                self.say(f"{error} Still waiting; the run isn't touched by this.")
            else:
                seen_s = self.now_s()
                self._tell(row)
                if row.get("state") in ENDS:
                    return Ending(str(row["state"]), "" if row["state"] == SUCCEEDED else _reason(row))
            self.sleep(self.pause_s)

    def _tell(self, row: Row) -> None:
        states = {"": str(row.get("state") or ""), **{str(task["display_name"]): str(task.get("state") or "") for task in _tasks(row)}}
        for name, state in states.items():
            if self._said.get(name) != state and state not in _SILENT_STATES:
                self.say(f"{f'stage {name}' if name else 'run'}: {state}")
            self._said[name] = state


def _tasks(row: Row) -> list[Row]:
    """Returns the stages of a run; drivers and the graph itself, which the API lists beside them, aren't stages."""
    details = row.get("run_details")
    tasks = details.get("task_details") if isinstance(details, dict) else None
    rows = [task for task in tasks if isinstance(task, dict) and task.get("display_name")] if isinstance(tasks, list) else []
    return [task for task in rows if not str(task["display_name"]).endswith("-driver") and task["display_name"] != "executor"]


def _reason(row: Row) -> str:
    error = row.get("error")
    message = str(error.get("message") or "") if isinstance(error, dict) else ""
    failed = [str(task["display_name"]) for task in _tasks(row) if task.get("state") == "FAILED"]
    line = " ".join("".join(character if character.isprintable() else " " for character in message).split())[:500]
    return "; ".join(part for part in (line, f"failed: {', '.join(failed)}" if failed else "") if part) or "no reason given"
