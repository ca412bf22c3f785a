"""Fills the settings from a YAML file and `--set` overrides, and refuses what they don't allow by name and line."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from schemas.errors import SettingsError
from schemas.settings import NetworkSettings, Settings
from schemas.yaml_bounds import check_yaml

PREFIX_VARIABLE = "AISLE_PREFIX"
DEFAULT_PREFIX = "var"
# Settings that name files; relative ones start at the configuration file, or where the program was started for --set.
_PATHS = {
    "catalogue.folder", "taxonomy.path", "rules.path", "labels.store", "labels.events", "ingest.split",
    "model.features", "push.folder", "run.root", "encoders.weights", "encoding.images",
    "serving.model_base_path", "serving.model_config_file", "serving.model_root", "serving.batching_parameters_file",
    "serving.ssl_config_file", "serving.monitoring_config_file", "similar.folder", "similar.ssl_config_file",
}  # fmt: skip
_LIST_NUMBER = re.compile(r"\.\d+\.")
_TEMPLATE = re.compile(r":(prefix|root|name|catalogue)\b")
_UNKNOWN_TEMPLATE = re.compile(r"(?:^|/)(:[a-z_]+)")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_MAX_FILE_BYTES = 500_000  # YAML is read at some 40,000 bytes a second where it is dense.
_MAX_FILE_NAME_BYTES, _MAX_PATH_BYTES = 255, 3_000  # What file systems take, with room for names below it.
_MAX_SHOWN = 80


@dataclass(frozen=True)
class _Given:
    """One value as a user gave it: where, what, where its relative paths start, and how a scalar is spelt."""

    place: str
    value: Any
    folder: Path
    text: str = ""


def load_settings(path: Path | None, overrides: Sequence[str] = (), prefix: str | None = None) -> Settings:
    """Returns the settings in force, with templates filled in and paths absolute.

    Args:
        path: YAML file; None: only defaults and overrides.
        overrides: `path.to.key=value`, the value in YAML; the last one wins.
        prefix: what `:prefix` stands for; by default $AISLE_PREFIX, else the folder `var`.

    Raises:
        SettingsError: an unknown key, a wrong type or unit, or a value out of range. Names the line.
    """
    settings = _fill(Settings, _given(path, overrides), "")
    return _resolved(settings, prefix if prefix is not None else os.environ.get(PREFIX_VARIABLE, DEFAULT_PREFIX))


def setting_places(path: Path | None, overrides: Sequence[str] = ()) -> dict[str, str]:
    """Returns where each setting that a user gave is written, as `path.to.key` to `file:line` or `--set ...`.

    Raises:
        SettingsError: as `load_settings` does for a file or an override that can't be read.
    """
    return dict(_places(_given(path, overrides), ""))


def _places(given: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(given, _Given):
        yield key, given.place
        return
    for name, value in given.items():
        yield from _places(value, f"{key}.{name}" if key else name)


def flat_settings(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every setting as `path.to.key` and value, in the order of declaration."""
    for field in dataclasses.fields(settings):
        value, key = getattr(settings, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from flat_settings(value, f"{key}.")
        elif isinstance(value, Mapping) and value and all(dataclasses.is_dataclass(item) for item in value.values()):
            for name, item in value.items():
                yield from flat_settings(item, f"{key}.{name}.")
        elif isinstance(value, tuple) and value and all(dataclasses.is_dataclass(item) for item in value):
            for number, item in enumerate(value):
                yield from flat_settings(item, f"{key}.{number}.")
        else:
            yield key, value


# Reading.


def _given(path: Path | None, overrides: Sequence[str]) -> dict[str, Any]:
    given = _from_file(path) if path else {}
    for text in overrides:
        key, found = _override(text)
        _lay_over(given, key, found)
    return given


def _from_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        if len(content) > _MAX_FILE_BYTES:
            raise SettingsError(
                f"{path}: over {_MAX_FILE_BYTES:,} bytes are too many for a configuration. Name the YAML file of the settings."
            )
        root = yaml.compose(content.decode("utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise SettingsError(f"{path}: there is no such configuration file.") from None
    except IsADirectoryError:
        raise SettingsError(f"{path}: this is a folder. Name the YAML file in it.") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: byte {error.start} isn't UTF-8. Save the file as UTF-8.") from None
    except OSError as error:
        raise SettingsError(f"{path}: the configuration can't be read: {error.strerror}. Name a file you may read.") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        raise SettingsError(f"{path}:{mark.line + 1 if mark else 1}: this isn't YAML: {_problem(error)}.") from None
    if root is None:
        return {}
    check_yaml(root, str(path), SettingsError)
    found = _plain(root, path, path.parent.absolute(), set())
    if not isinstance(found, dict):
        raise SettingsError(f"{path}:1: expected sections such as 'run:' and 'taxonomy:', found {_shown(found.value)}.")
    return found


def _problem(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(getattr(error, "problem", None) or str(error).splitlines()[0])


def _plain(node: yaml.Node, path: Path, folder: Path, above: set[int]) -> Any:
    """Returns mappings as dicts, anything else as `_Given`."""
    if id(node) in above:
        raise SettingsError(f"{path}:{node.start_mark.line + 1}: an alias refers to itself.")
    if not isinstance(node, yaml.MappingNode):
        loader = yaml.SafeLoader("")
        try:
            text = node.value if isinstance(node, yaml.ScalarNode) else ""
            return _Given(f"{path}:{node.start_mark.line + 1}", loader.construct_document(node), folder, text)
        except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:  # Of a tag that doesn't fit.
            raise SettingsError(f"{path}:{node.start_mark.line + 1}: this value can't be read: {_problem(error)}.") from None
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise SettingsError(f"{path}:{key_node.start_mark.line + 1}: a list or section can't be a key. Write the key's name.")
        key = str(key_node.value)
        if key in found:
            raise SettingsError(f"{path}:{key_node.start_mark.line + 1}: {key!r} is set twice. Keep one.")
        found[key] = _plain(value_node, path, folder, above | {id(node)})
    return found


def _override(text: str) -> tuple[list[str], Any]:
    key, equals, value = text.partition("=")
    place = f"--set {text}"
    if not equals or not key.strip():
        raise SettingsError(f"{place}: expected path.to.key=value.")
    try:
        node = yaml.compose(value, Loader=yaml.SafeLoader) if value.strip() else None
        if node:
            check_yaml(node, place, SettingsError)
        found = _plain(node, Path(place), Path.cwd(), set()) if node else _Given(place, "", Path.cwd())
    except (yaml.YAMLError, RecursionError) as error:
        raise SettingsError(f"{place}: the value isn't YAML: {_problem(error)}.") from None
    return key.strip().split("."), _at(found, place)


def _at(found: Any, place: str) -> Any:
    if isinstance(found, _Given):
        return dataclasses.replace(found, place=place)
    return {name: _at(value, place) for name, value in found.items()}


def _lay_over(given: dict[str, Any], key: Sequence[str], found: Any) -> None:
    for part in key[:-1]:
        inner = given.get(part)
        if not isinstance(inner, dict):
            inner = {}
            given[part] = inner
        given = inner
    given[key[-1]] = found


# Filling.


def _fill(kind: type, given: Any, key: str) -> Any:
    if isinstance(given, _Given):
        if given.value is None:
            return kind()
        raise SettingsError(f"{given.place}: {key or 'the file'} {_shown(given.value)} must be a section with keys. {_known(kind)}")
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for name, value in given.items():
        full = f"{key}.{name}" if key else name
        if name not in hints:
            raise SettingsError(f"{_place(value)}: unknown setting '{full}'.{_hint(name, hints, key)} {_known(kind)}")
        field = next(f for f in dataclasses.fields(kind) if f.name == name)
        values[name] = _value(hints[name], value, full, field.metadata)
    return kind(**values)


def _value(hint: Any, given: Any, key: str, metadata: Mapping[str, Any]) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _fill(typing.cast(type, hint), given, key)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(arguments[1], given, key)
    if not isinstance(given, _Given):
        raise SettingsError(f"{_place(given)}: {key} is a section, expected {_wanted(hint)}.")
    if origin is tuple:
        return _list(arguments[0], given, key)
    return _scalar(hint, given, key, metadata)


def _mapping(kind: Any, given: Any, key: str) -> Any:
    if isinstance(given, _Given):
        if given.value is None:
            return {}
        raise SettingsError(f"{given.place}: {key} {_shown(given.value)} must be a section with keys.")
    if dataclasses.is_dataclass(kind):
        return {name: _network_paths(_fill(typing.cast(type, kind), value, f"{key}.{name}"), value) for name, value in given.items()}
    if kind is str:
        return {name: _text(value, f"{key}.{name}") for name, value in given.items()}
    return {name: _plain_data(value, f"{key}.{name}") for name, value in given.items()}


def _plain_data(given: Any, key: str) -> Any:
    """Returns a value that JSON can hold: YAML also has dates, bytes and sets."""
    value = _unwrapped(given)
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += [*part, *part.values()]
        elif isinstance(part, list):
            waiting += part
        elif not isinstance(part, (str, int, float, bool, type(None))):
            raise SettingsError(f"{_place(given)}: {key} holds {_shown(part)}, a {type(part).__name__}. Write a number or a text.")
    return value


def _text(given: Any, key: str) -> str:
    """Returns a text as it is spelt: 0501 and no are texts where a text is wanted, not a number and a truth value."""
    value = _unwrapped(given)
    if isinstance(value, (dict, list)) or value is None:
        raise SettingsError(f"{_place(given)}: {key} {_shown(value)} must be a text.")
    text = value if isinstance(value, str) else given.text or str(value)
    if "\0" in text:
        raise SettingsError(f"{_place(given)}: {key} {_shown(text)} holds a NUL character. Take it out.")
    return text


def _network_paths(network: Any, given: Any) -> Any:
    feeds = given.get("feeds") if isinstance(given, dict) else None
    if not isinstance(network, NetworkSettings) or not isinstance(feeds, _Given):
        return network
    return dataclasses.replace(network, feeds=tuple(_absolute(feed, feeds.folder) for feed in network.feeds))


def _list(kind: Any, given: _Given, key: str) -> tuple[Any, ...]:
    values = [given.value] if isinstance(given.value, str) else given.value
    if not isinstance(values, list):
        raise SettingsError(f"{given.place}: {key} {_shown(values)} must be a list.")
    if dataclasses.is_dataclass(kind):
        return tuple(_fill(typing.cast(type, kind), _wrapped(item, given), f"{key}.{number}") for number, item in enumerate(values))
    for item in values:
        if not isinstance(item, str) or not item or "\0" in item:
            raise SettingsError(f"{given.place}: {key} holds {_shown(item)}, expected texts.")
    return tuple(_path(item, given, key) if key in _PATHS else item for item in values)


def _wrapped(item: Any, around: _Given) -> Any:
    if isinstance(item, dict):
        return {str(name): _Given(around.place, value, around.folder) for name, value in item.items()}
    return _Given(around.place, item, around.folder)


def _scalar(hint: Any, given: _Given, key: str, metadata: Mapping[str, Any]) -> Any:
    value = given.value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**1000 else float("inf")
    if hint is str:
        value = _text(given, key)
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise SettingsError(f"{given.place}: {key} {_shown(given.value)} must be {_wanted(hint)}.")
    low, high, choices = metadata.get("minimum"), metadata.get("maximum"), metadata.get("choices")
    if hint is float and value != value:
        raise SettingsError(f"{given.place}: {key} isn't a number.")
    if (low is not None and value < low) or (high is not None and value > high):
        allowed = f"in [{low}, {high}]" if high is not None else f"at least {low}"
        raise SettingsError(f"{given.place}: {key} {_shown(value)} is out of range. Allowed: {allowed}.")
    if choices and value not in choices:
        close = difflib.get_close_matches(str(value), [str(choice) for choice in choices], 1)
        hint_text = f" Did you mean {close[0]!r}?" if close else ""
        raise SettingsError(f"{given.place}: {key} {_shown(value)} is unknown.{hint_text} Known: {', '.join(map(str, choices))}.")
    return _path(value, given, key) if _LIST_NUMBER.sub(".", key) in _PATHS and value else value


def _path(value: str, given: _Given, key: str) -> str:
    longest = max(len(os.fsencode(name)) for name in value.split("/"))
    if longest > _MAX_FILE_NAME_BYTES or len(os.fsencode(value)) > _MAX_PATH_BYTES:
        raise SettingsError(
            f"{given.place}: {key} {_shown(value)} is too long for a path. Use names of at most {_MAX_FILE_NAME_BYTES} bytes."
        )
    return _absolute(value, given.folder)


def _absolute(text: str, folder: Path) -> str:
    text = os.path.expanduser(text)  # noqa: PTH111 - a path object would fold the // of gs://bucket
    return text if text.startswith((":", "/")) or "://" in text else os.path.normpath(folder / text)


def _unwrapped(value: Any) -> Any:
    if isinstance(value, _Given):
        return value.value
    return {name: _unwrapped(item) for name, item in value.items()}


def _place(value: Any) -> str:
    while isinstance(value, dict) and value:
        value = next(iter(value.values()))
    return value.place if isinstance(value, _Given) else "settings"


def _hint(name: str, known: Mapping[str, Any], key: str) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f" Did you mean '{key + '.' if key else ''}{close[0]}'?" if close else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


def _known(kind: type) -> str:
    return f"Known: {', '.join(field.name for field in dataclasses.fields(kind))}."


def _wanted(hint: Any) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}.get(hint, "a list")


# Resolving.


def _resolved(settings: Settings, prefix: str) -> Settings:
    catalogue = _safe_name(Path(settings.catalogue.folder).name) if settings.catalogue.folder else "catalogue"
    words = {"prefix": os.path.abspath(prefix) if "://" not in prefix else prefix, "catalogue": catalogue}  # noqa: PTH100
    words["name"] = _filled(settings.run.name, words, "run.name")
    if not _NAME.fullmatch(words["name"]):
        raise SettingsError(f"run.name {words['name']!r} must be lower case letters, digits and dashes, 63 at most.")
    words["root"] = _absolute(_filled(settings.run.root, words, "run.root"), Path.cwd())
    return dataclasses.replace(
        settings,
        run=dataclasses.replace(settings.run, name=words["name"], root=words["root"]),
        labels=dataclasses.replace(settings.labels, store=_filled(settings.labels.store, words, "labels.store")),
        push=dataclasses.replace(settings.push, folder=_filled(settings.push.folder, words, "push.folder")),
    )


def _filled(text: str, words: Mapping[str, str], key: str) -> str:
    def word(match: re.Match[str]) -> str:
        if match[1] not in words:
            raise SettingsError(f"{key}: the template :{match[1]} isn't known there. Known: {', '.join(':' + name for name in words)}.")
        return words[match[1]]

    filled = _TEMPLATE.sub(word, text)
    unknown = _UNKNOWN_TEMPLATE.search(filled)
    if unknown:
        raise SettingsError(f"{key}: the template {unknown[1]} isn't known. Known: {', '.join(':' + name for name in words)}.")
    return filled


def _safe_name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63] or "catalogue"
