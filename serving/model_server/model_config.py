"""Which versions of which models are wanted, and what their labels name; plain Python."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grpc import StatusCode

from serving.status import ServingError, invalid

LATEST, ALL, SPECIFIC = "latest", "all", "specific"
_MAX_VERSION = 2**63 - 1
_MAX_MODELS = _MAX_ENTRIES = 1_000
_MAX_NAME, _MAX_PATH, _MAX_LISTED = 200, 4_000, 10
_NAME = f"Use 1 to {_MAX_NAME} letters that can be printed, without / and :."


@dataclass(frozen=True)
class VersionPolicy:
    """Which of the versions on disk are served.

    Attributes:
        kind: `latest`, `all` or `specific`.
        num_versions: how many of the highest, for `latest`; at least 1.
        versions: which, for `specific`.
    """

    kind: str = LATEST
    num_versions: int = 1
    versions: tuple[int, ...] = ()

    def wanted(self, found: Collection[int]) -> frozenset[int]:
        """Returns those of the versions on disk that are to be served.

        >>> sorted(VersionPolicy(LATEST, 2).wanted({1, 2, 10}))
        [2, 10]
        """
        if self.kind == ALL:
            return frozenset(found)
        if self.kind == SPECIFIC:
            return frozenset(self.versions) & frozenset(found)
        return frozenset(sorted(found)[-self.num_versions :])


@dataclass(frozen=True)
class ModelConfig:
    """One model to serve.

    Attributes:
        name: what requests call it.
        base_path: the folder of its version folders.
        policy: which of them are served.
        labels: names of versions, such as `stable`.
    """

    name: str
    base_path: Path
    policy: VersionPolicy = VersionPolicy()
    labels: Mapping[str, int] = field(default_factory=dict)


def check_configs(configs: Sequence[ModelConfig]) -> None:
    """Refuses models that can't be told apart or found.

    Raises:
        ServingError: INVALID_ARGUMENT, and what is wrong with which model.
    """
    if not configs or len(configs) > _MAX_MODELS:
        raise invalid(f"model_config_list: it holds {len(configs)} models, expected 1 to {_MAX_MODELS}.")
    names: set[str] = set()
    for config in configs:
        if not _is_name(config.name):
            raise invalid(f"model name {config.name[:_MAX_NAME]!r} isn't one a request can hold. {_NAME}")
        if config.name in names:
            raise invalid(f"model_config_list: {config.name!r} is listed twice. Give each model its own name.")
        names.add(config.name)
        _check_base_path(config)
        _check_policy(config)
        _check_labels(config)


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _MAX_NAME and text.isprintable() and not any(letter in text for letter in "/:")


def _check_base_path(config: ModelConfig) -> None:
    text = str(config.base_path)
    if not config.base_path.is_absolute():
        raise invalid(f"{config.name}: base_path {text[:_MAX_NAME]!r} isn't an absolute path. Write it from the root on.")
    if "\0" in text or len(text) > _MAX_PATH:
        what = "holds a NUL character" if "\0" in text else f"has {len(text)} letters, a path has {_MAX_PATH} at most"
        raise invalid(f"{config.name}: base_path {text[:_MAX_NAME]!r} {what}. Name the folder that holds the versions.")
    try:
        config.base_path.resolve()
    except (OSError, RuntimeError):
        raise invalid(f"{config.name}: base_path {text!r} goes round in a circle of links. Name the folder itself.") from None


def _check_policy(config: ModelConfig) -> None:
    policy = config.policy
    if policy.kind == LATEST and policy.num_versions < 1:
        raise invalid(f"{config.name}: latest.num_versions is {policy.num_versions}, expected 1 or more.")
    if policy.kind == SPECIFIC and not policy.versions:
        raise invalid(f"{config.name}: specific.versions is empty. Name the versions to serve.")
    if len(policy.versions) > _MAX_ENTRIES:
        raise invalid(f"{config.name}: specific.versions names {len(policy.versions)} versions, expected {_MAX_ENTRIES} at most.")
    if any(version < 0 for version in policy.versions):
        raise invalid(f"{config.name}: specific.versions holds {min(policy.versions)}, expected 0 or more.")


def _check_labels(config: ModelConfig) -> None:
    if len(config.labels) > _MAX_ENTRIES:
        raise invalid(f"{config.name}: version_labels has {len(config.labels)} labels, expected {_MAX_ENTRIES} at most.")
    for label in config.labels:
        if not _is_name(label):
            raise invalid(f"{config.name}: version label {label[:_MAX_NAME]!r} isn't one a request can hold. {_NAME}")


def listed(numbers: Collection[int]) -> str:
    """Returns numbers for a message, rising, and a count instead where they are many.

    >>> listed({2, 10, 1}), listed(()), listed(range(1000))
    ('1, 2, 10', 'none', '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 990 more')
    """
    shown = ", ".join(map(str, sorted(numbers)[:_MAX_LISTED])) or "none"
    return shown if len(numbers) <= _MAX_LISTED else f"{shown} and {len(numbers) - _MAX_LISTED} more"


def versions_on_disk(base_path: Path) -> dict[int, Path]:
    """Returns version number to folder; folders whose names aren't numbers are somebody else's.

    Raises:
        ServingError: NOT_FOUND: there is no such folder, or it can't be read.
    """
    try:
        places = [place for place in base_path.iterdir() if place.name.isascii() and place.name.isdecimal() and place.is_dir()]
    except OSError as error:
        raise ServingError(
            StatusCode.NOT_FOUND,
            f"{base_path}: the model's folder can't be read: {error.strerror}. Name the folder that holds its versions.",
        ) from None
    return {int(place.name): place for place in sorted(places) if int(place.name) <= _MAX_VERSION}
