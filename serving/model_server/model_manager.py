"""Keeps the wanted versions of every model loaded, lends them to requests, and swaps them without a gap."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grpc import StatusCode

from serving.model_server.model_config import SPECIFIC, ModelConfig, check_configs, listed, versions_on_disk
from serving.model_server.saved_model import SavedModel
from serving.model_server.version_folder import FailedFolders, check_unchanged, contents_of
from serving.model_server.versions import RetryPolicy, State, VersionState, to_load, to_unload
from serving.status import ServingError, invalid

_MAX_ENDED = 100
_MAX_RELOADS = 8  # Each holds a thread of the port's until it is done, and requests need those, too.
_PATIENCE, _LAST = 5, 19  # Niceness: a model that is loaded while others answer can wait, for requests come first.
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """Which version of which model a request is for: a number, a label, or by default the highest that is available."""

    name: str
    version: int | None = None
    label: str = ""


@dataclass(eq=False)
class Loaded:
    """A version in memory, and how many requests are using it."""

    name: str
    version: int
    folder: Path
    model: SavedModel
    num_users: int = 0


Load = Callable[[str, int, Path], Loaded]


@dataclass(eq=False)
class _Reload:
    configs: Sequence[ModelConfig]
    done: threading.Event = field(default_factory=threading.Event)
    error: ServingError | None = None


class _Turn:
    """When something is to be looked at again.

    Args:
        every_s: seconds between two looks; 0: never.
    """

    def __init__(self, every_s: float) -> None:
        self.every_s, self._next_s = every_s, time.monotonic() + every_s

    def left_s(self) -> float:
        """Returns the seconds until then."""
        return max(0.0, self._next_s - time.monotonic())

    def has_come(self) -> bool:
        """Returns whether it is time; from then on it is that of the next one."""
        if not self.every_s or self.left_s():
            return False
        self._next_s = time.monotonic() + self.every_s
        return True


class ModelManager:
    """The models of a server. One thread looks at the disk, loads and unloads; requests only borrow.

    Args:
        load: makes a version of its name, number and folder; it is available once this returns.
        poll_s: seconds between two looks at the disk; 0: none after the first.
        retry: for versions that can't be loaded.
        read_configs: says anew which models are wanted, None where nothing changed; None: they change by `reload` only.
        config_poll_s: seconds between two calls of that; 0: none.
    """

    def __init__(
        self,
        load: Load,
        poll_s: float = 1.0,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        read_configs: Callable[[], Sequence[ModelConfig] | None] | None = None,
        config_poll_s: float = 0.0,
    ) -> None:
        self._load_model, self._retry, self._read_configs = load, retry, read_configs
        self._disk, self._config = _Turn(poll_s), _Turn(config_poll_s if read_configs else 0.0)
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._configs: dict[str, ModelConfig] = {}
        self._states: dict[str, dict[int, VersionState]] = {}
        self._available: dict[str, dict[int, Loaded]] = {}
        self._retired: list[Loaded] = []
        self._reloads: list[_Reload] = []
        self._begun: list[_Reload] = []
        self._failed = FailedFolders()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="model-manager", daemon=True)

    def start(self, configs: Sequence[ModelConfig]) -> None:
        """Loads every wanted version and then keeps watching.

        Raises:
            ServingError: a model can't be found or loaded.
        """
        self._apply(configs)
        self._thread.start()

    def reload(self, configs: Sequence[ModelConfig], timeout_s: float | None = None) -> None:
        """Serves other models, versions or labels: all that is asked for, or what was served before.

        Returns when every wanted version is available and the labels name what they should; from then on what is no longer
        wanted is taken out of use.

        Raises:
            ServingError: a model can't be found or loaded, a label names a version that isn't served, time is up, or too many wait.
        """
        request = _Reload(configs)
        with self._lock:
            if self._is_closed:
                raise _shutting_down()
            if len(self._begun) + len(self._reloads) >= _MAX_RELOADS:
                raise ServingError(StatusCode.RESOURCE_EXHAUSTED, f"{_MAX_RELOADS} reloads are waiting already. Try again later.")
            self._reloads.append(request)
        self._wake.set()
        if not request.done.wait(timeout_s):
            raise ServingError(StatusCode.DEADLINE_EXCEEDED, "the models are still loading; the configuration is in force once they are.")
        if request.error:
            raise request.error

    @contextlib.contextmanager
    def borrow(self, target: Target) -> Iterator[Loaded]:
        """Lends a version: it stays in memory until the block ends.

        Raises:
            ServingError: NOT_FOUND where it isn't served, INVALID_ARGUMENT for no name or an unknown label.
        """
        with self._lock:
            loaded = self._find(target)
            loaded.num_users += 1
        try:
            yield loaded
        finally:
            with self._lock:
                loaded.num_users -= 1
                is_last = loaded.num_users == 0 and loaded in self._retired
            if is_last:
                self._wake.set()

    def _find(self, target: Target) -> Loaded:
        if not target.name:
            raise invalid("model_spec.name is empty. Name a model.")
        versions = self._available.get(target.name, {})
        version = target.version
        if target.label:
            version = self._version_of_label(target)
        elif version is None:
            version = max(versions, default=None)
        if version is None or version not in versions:
            told = listed(versions)
            asked = f"version {version} of model" if version is not None else "model"
            raise ServingError(StatusCode.NOT_FOUND, f"{asked} {target.name!r} isn't served. Available versions: {told}.")
        return versions[version]

    def _version_of_label(self, target: Target) -> int:
        config = self._configs.get(target.name)
        if config is None:
            raise ServingError(StatusCode.NOT_FOUND, f"model {target.name!r} isn't served. Models: {', '.join(self._configs) or 'none'}.")
        if target.label not in config.labels:
            known = ", ".join(sorted(config.labels)) or "none"
            raise invalid(f"model {target.name!r} has no version label {target.label!r}. Labels: {known}.")
        return config.labels[target.label]

    def states(self, target: Target) -> dict[int, VersionState]:
        """Returns what is known of the versions of a model, or of the one that is asked for; highest first.

        Raises:
            ServingError: NOT_FOUND: nothing is known.
        """
        with self._lock:
            states = dict(self._states.get(target.name, {}))
            version = self._version_of_label(target) if target.label else target.version
        if version is not None:
            states = {version: states[version]} if version in states else {}
        if not states:
            asked = f"version {version} of model" if version is not None else "model"
            raise ServingError(StatusCode.NOT_FOUND, f"{asked} {target.name!r} isn't known here.")
        return dict(sorted(states.items(), reverse=True))

    def served(self) -> dict[str, list[int]]:
        """Returns the available versions of each model."""
        with self._lock:
            return {name: sorted(versions) for name, versions in self._available.items() if versions}

    def used_signatures(self, name: str) -> set[str]:
        """Returns the signatures of a model that clients of its available versions have called."""
        with self._lock:
            return {signature for loaded in self._available.get(name, {}).values() for signature in loaded.model.prepared()}

    def configs(self) -> list[ModelConfig]:
        """Returns the configuration in force."""
        with self._lock:
            return list(self._configs.values())

    @property
    def is_at_work(self) -> bool:
        """Whether its thread hasn't ended, which after `close` is still loading a model."""
        return self._thread.is_alive()

    def close(self, timeout_s: float) -> None:
        """Ends the watching and frees every model that nobody is using; a model that is being loaded is waited for no longer than this."""
        with self._lock:
            self._is_closed = True
            self._retired += [loaded for versions in self._available.values() for loaded in versions.values()]
            self._available.clear()
            waiting, self._reloads = [*self._begun, *self._reloads], []
        for request in waiting:  # Loading a model may take longer than anybody waits for the end.
            request.error = _shutting_down()
            request.done.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self._free_retired()

    # What only the manager's thread does.

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # Where a system has no priorities of threads, requests wait a little.
            now = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(now + _PATIENCE, _LAST))
        while not self._is_closed:
            self._wake.wait(min((turn.left_s() for turn in (self._disk, self._config) if turn.every_s), default=None))
            self._wake.clear()
            try:
                self._step()
            except Exception:  # The thread must outlive whatever one model does to it.
                log.exception("model_manager step failed")

    def _step(self) -> None:
        with self._lock:
            self._begun, self._reloads = self._reloads, []
        for request in self._begun:
            try:
                self._apply(request.configs)
            except ServingError as error:
                request.error = error
                log.warning("reload refused=%s", error)
            except Exception:  # Whoever asked must not wait for ever.
                log.exception("reload failed")
                request.error = ServingError(StatusCode.INTERNAL, "the server failed; its log says more.")
            request.done.set()
        with self._lock:
            self._begun = []
        if not self._is_closed and self._config.has_come():
            self._read_again()
        if not self._is_closed and self._disk.has_come():
            self._follow_disk()
        self._free_retired()

    def _read_again(self) -> None:
        try:
            configs = self._read_configs() if self._read_configs else None
            if configs is not None and list(configs) != self.configs():
                self._apply(configs)
        except ServingError as error:
            log.warning("reload refused=%s", error)

    def _apply(self, configs: Sequence[ModelConfig]) -> None:
        """Puts all of it in force in one step; until then requests, labels and states are those of before."""
        check_configs(configs)
        folders = {config.name: _wanted_folders(config) for config in configs}
        for config in configs:
            _check_labels(config, folders[config.name])
        staged: list[Loaded] = []
        before = {name: dict(states) for name, states in self._states.items()}
        try:
            for config in configs:
                self._stage(config.name, folders[config.name], staged)
            self._commit(configs, staged)
        except BaseException:
            with self._lock:
                self._states = before
            for loaded in staged:  # Nobody knows of them.
                loaded.model.close()
            raise
        for name in list(self._states):
            self._unload_unwanted(name)
        log.info("configured models=%s", self.served())

    def _stage(self, name: str, folders: Mapping[int, Path], staged: list[Loaded]) -> None:
        """Loads the versions that aren't available, or are from elsewhere, into `staged`."""
        for version, folder in sorted(folders.items(), reverse=True):
            loaded = self._available.get(name, {}).get(version)
            if loaded is None:
                self._set(name, version, VersionState(State.LOADING))
            if loaded is None or loaded.folder != folder:
                staged.append(self._whole(name, version, folder))

    def _commit(self, configs: Sequence[ModelConfig], staged: Sequence[Loaded]) -> None:
        with self._lock:
            if self._is_closed:
                raise _shutting_down()
            for loaded in staged:
                self._publish(loaded)
            self._configs = {config.name: config for config in configs}

    def _publish(self, loaded: Loaded) -> None:
        """Makes a version available, in place of one of the same number; the lock is held."""
        old = self._available.setdefault(loaded.name, {}).pop(loaded.version, None)
        self._retired += [old] if old else []
        self._available[loaded.name][loaded.version] = loaded
        self._states.setdefault(loaded.name, {})[loaded.version] = VersionState(State.AVAILABLE)

    def _follow_disk(self) -> None:
        for config in self.configs():
            try:
                found = versions_on_disk(config.base_path)
            except ServingError as error:
                log.warning("model=%s keeps=%s reason=%s", config.name, sorted(self._available.get(config.name, {})), error)
                continue
            wanted = config.policy.wanted(found)
            self._forgive_completed(config.name, {version: found[version] for version in wanted})
            while (version := to_load(self._states.get(config.name, {}), wanted, self._retry, time.monotonic())) is not None:
                if self._is_closed:
                    return
                self._load(config.name, version, found[version])
            self._unload_unwanted(config.name)

    def _forgive_completed(self, name: str, wanted: Mapping[int, Path]) -> None:
        """Lets versions be tried again at once whose folders were completed since they failed: a copy was still on its way."""
        for version, state in list(self._states.get(name, {}).items()):
            if (
                state.state == State.END
                and state.code != StatusCode.OK
                and version in wanted
                and self._failed.is_completed(wanted[version])
            ):
                self._set(name, version, VersionState(State.END, state.code, state.message))

    def _load(self, name: str, version: int, folder: Path) -> None:
        """Makes a version available, or takes note of why it can't be."""
        before = self._states.get(name, {}).get(version, VersionState(State.START))
        self._set(name, version, VersionState(State.LOADING, attempts=before.attempts))
        try:
            loaded = self._whole(name, version, folder)
        except ServingError as error:
            self._set(name, version, self._retry.failed(before, error.code, str(error), time.monotonic()))
            return
        with self._lock:
            is_wanted = not self._is_closed
            if is_wanted:
                self._publish(loaded)
        if not is_wanted:  # What is live was freed meanwhile, and nobody would free this.
            loaded.model.close()

    def _whole(self, name: str, version: int, folder: Path) -> Loaded:
        """Returns a version in memory, unless somebody wrote to its folder meanwhile."""
        started_s, contents = time.monotonic(), contents_of(folder)
        try:
            loaded = self._load_model(name, version, folder)
            try:
                check_unchanged(folder, contents)
            except ServingError:
                loaded.model.close()
                raise
        except ServingError as error:
            self._failed.failed(folder, contents)
            log.error("load model=%s version=%d failed=%s", name, version, error)
            raise
        self._failed.loaded(folder)
        log.info("load model=%s version=%d seconds=%.2f", name, version, time.monotonic() - started_s)
        return loaded

    def _set(self, name: str, version: int, state: VersionState) -> None:
        with self._lock:
            states = self._states.setdefault(name, {})
            states[version] = state
            ended = [number for number in sorted(states) if states[number].state == State.END]
            for number in ended[:-_MAX_ENDED]:
                del states[number]

    def _unload_unwanted(self, name: str) -> None:
        config = self._configs.get(name)
        wanted: frozenset[int] = frozenset()
        with contextlib.suppress(ServingError):  # A folder that can't be read is no reason to unload anything.
            wanted = config.policy.wanted(versions_on_disk(config.base_path)) if config else wanted
        for version in to_unload(self._states.get(name, {}), wanted, config is not None):
            with self._lock:
                if self._is_closed:  # Which retired all that was available.
                    return
                self._states[name][version] = VersionState(State.UNLOADING)
                self._retired.append(self._available[name].pop(version))

    def _free_retired(self) -> None:
        with self._lock:
            free = [loaded for loaded in self._retired if loaded.num_users == 0]
            self._retired = [loaded for loaded in self._retired if loaded.num_users]
        for loaded in free:
            loaded.model.close()
            with self._lock:
                state = self._states.get(loaded.name, {}).get(loaded.version)
            if state and state.state == State.UNLOADING:
                self._set(loaded.name, loaded.version, VersionState(State.END))
            log.info("unload model=%s version=%d", loaded.name, loaded.version)


def _wanted_folders(config: ModelConfig) -> dict[int, Path]:
    """Returns the versions that a configuration asks for with their folders.

    Raises:
        ServingError: NOT_FOUND: one that it names isn't on disk, or none is.
    """
    found = versions_on_disk(config.base_path)
    wanted = config.policy.wanted(found)
    missing = set(config.policy.versions) - wanted if config.policy.kind == SPECIFIC else set()
    if missing or not wanted:
        which = f"version {listed(missing)}" if missing else "a version"
        raise ServingError(StatusCode.NOT_FOUND, f"{config.base_path}: there is no folder of {which}. Found: {listed(found)}.")
    return {version: found[version] for version in wanted}


def _check_labels(config: ModelConfig, wanted: Collection[int]) -> None:
    for label, version in config.labels.items():
        if version not in wanted:
            raise ServingError(
                StatusCode.FAILED_PRECONDITION,
                f"{config.name}: label {label!r} names version {version}, which isn't available. Available: {listed(wanted)}.",
            )


def _shutting_down() -> ServingError:
    return ServingError(StatusCode.UNAVAILABLE, "the server is shutting down.")
