"""Which versions of which models are wanted, and what their labels name; plain Python."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grpc import StatusCode

from serving.status import ServingError, invalid

LATEST, ALL, SPECIFIC = "latest", "all", "specific"
_MAX_VERSION = 2**63 - 1
_MAX_MODELS = 1_000


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
    names = [config.name for config in configs]
    for config in configs:
        if not config.name or len(config.name) > 200 or any(letter in config.name for letter in "/:\n"):
            raise invalid(f"model_config_list: name {config.name!r} isn't one a request can hold. Use up to 200 letters without / and :.")
        if names.count(config.name) > 1:
            raise invalid(f"model_config_list: {config.name!r} is listed twice. Give each model its own name.")
        if not config.base_path.is_absolute():
            raise invalid(f"{config.name}: base_path {str(config.base_path)!r} isn't an absolute path. Write it from the root on.")
        if config.policy.kind == LATEST and config.policy.num_versions < 1:
            raise invalid(f"{config.name}: latest.num_versions is {config.policy.num_versions}, expected 1 or more.")
        if config.policy.kind == SPECIFIC and not config.policy.versions:
            raise invalid(f"{config.name}: specific.versions is empty. Name the versions to serve.")


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
