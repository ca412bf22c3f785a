"""Says which model input is made from which product fields, and how: the one feature config everybody reads."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from schemas.errors import FeatureError
from schemas.product import FIELDS, NUMERIC_FIELDS
from schemas.yaml_bounds import check_yaml

TEXT, CATEGORICAL, NUMERIC, DENSE = "text", "categorical", "numeric", "dense"
KINDS = (TEXT, CATEGORICAL, NUMERIC, DENSE)
MULTI_HOT, COUNTS, TF_IDF, SEQUENCE = "multi_hot", "counts", "tf_idf", "sequence"
WEIGHTINGS = (MULTI_HOT, COUNTS, TF_IDF, SEQUENCE)
WORDS, CHARACTERS = "words", "characters"
EMBEDDING, ONE_HOT = "embedding", "one_hot"
MAX_VALUES = 1_000_000
_MAX_BYTES = 100_000
_SHIPPED = Path(__file__).with_name("default_features.yaml")


@dataclass(frozen=True)
class Feature:
    """One model input.

    Attributes:
        name: how the transformed feature is called.
        kind: `text`, `categorical`, `numeric` or `dense`.
        fields: product fields it is made from; several texts are joined by a space.
        values: how many tokens or values are kept, most frequent first; 0 keeps all.
        tokens: `words` or `characters` (text).
        ngrams: shortest and longest n-gram (text).
        weighting: `multi_hot`, `counts`, `tf_idf`, or `sequence` (token order kept, no weights) (text).
        minimum_count: products a token or value must occur in to be kept.
        max_tokens: tokens kept of one product (sequence).
        encoding: `embedding` or `one_hot` (categorical).
        dimensions: width of the embedding (categorical), or of the vector (dense).
        logarithm: take log(1 + x) first (numeric).
        scale: length of this input beside the others'.
    """

    name: str
    kind: str
    fields: tuple[str, ...]
    values: int = 0
    tokens: str = WORDS
    ngrams: tuple[int, int] = (1, 1)
    weighting: str = TF_IDF
    minimum_count: int = 1
    max_tokens: int = 64
    encoding: str = EMBEDDING
    dimensions: int = 8
    logarithm: bool = True
    scale: float = 1.0


_OPTIONS = {
    TEXT: {"values", "tokens", "ngrams", "weighting", "minimum_count", "max_tokens", "scale"},
    CATEGORICAL: {"values", "minimum_count", "encoding", "dimensions", "scale"},
    NUMERIC: {"logarithm", "scale"},
    DENSE: {"dimensions", "scale"},
}


@dataclass(frozen=True)
class FeatureConfig:
    """Every model input, in the order of the file."""

    features: tuple[Feature, ...]

    def __iter__(self) -> Iterator[Feature]:
        return iter(self.features)

    def of_kind(self, *kinds: str) -> list[Feature]:
        """Returns the features of these kinds."""
        return [feature for feature in self.features if feature.kind in kinds]

    @property
    def string_fields(self) -> list[str]:
        """Product fields read as strings, in the order of `schemas.product.FIELDS`."""
        used = {field for feature in self.of_kind(TEXT, CATEGORICAL) for field in feature.fields}
        return [field for field in FIELDS if field in used]

    @property
    def numeric_fields(self) -> list[str]:
        """Product fields read as numbers."""
        used = {field for feature in self.of_kind(NUMERIC) for field in feature.fields}
        return [field for field in FIELDS if field in used]

    @property
    def dense_fields(self) -> dict[str, int]:
        """Vector fields and their sizes."""
        return {feature.fields[0]: feature.dimensions for feature in self.of_kind(DENSE)}

    def to_json(self) -> str:
        """Returns the config as a text that `features_from_json` reads back."""
        return json.dumps([asdict(feature) for feature in self.features], sort_keys=True)


def features_from_json(text: str) -> FeatureConfig:
    """Reads what `FeatureConfig.to_json` wrote."""
    rows = json.loads(text)
    return FeatureConfig(tuple(Feature(**{**row, "fields": tuple(row["fields"]), "ngrams": tuple(row["ngrams"])}) for row in rows))


def with_vectors(config: FeatureConfig, sizes: Mapping[str, int]) -> FeatureConfig:
    """Returns the config with a dense feature for each vector that none reads yet, of the vector's own name.

    Raises:
        FeatureError: a feature reads a vector with another number of dimensions, or has the name of one and reads something else.
    """
    for feature in config.of_kind(DENSE):
        size = sizes.get(feature.fields[0], feature.dimensions)
        if feature.dimensions != size:
            raise FeatureError(
                f"features.{feature.name}: {feature.fields[0]} has {size} dimensions, found {feature.dimensions}. Set dimensions to {size}."
            )
    more = [name for name in sizes if name not in config.dense_fields]
    taken = [feature.name for feature in config if feature.name in more]
    if taken:
        raise FeatureError(f"features.{taken[0]}: an encoder has this name, too. Rename one, or let a dense feature read its vector.")
    return FeatureConfig((*config.features, *(Feature(name, DENSE, (name,), dimensions=sizes[name]) for name in more)))


def reading_only(config: FeatureConfig, names: Collection[str]) -> FeatureConfig:
    """Returns the features that read no other product fields than these."""
    return FeatureConfig(tuple(feature for feature in config if set(feature.fields) <= set(names)))


def write_features(path: Path, config: FeatureConfig) -> None:
    """Writes a feature config that `load_features` reads; JSON is YAML, too."""
    rows = {feature.name: {"kind": feature.kind, "fields": list(feature.fields), **_options(feature)} for feature in config}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"features": rows}, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _options(feature: Feature) -> dict[str, Any]:
    return {name: list(value) if isinstance(value := getattr(feature, name), tuple) else value for name in sorted(_OPTIONS[feature.kind])}


def load_features(path: Path | None = None) -> FeatureConfig:
    """Reads a feature config; without a path, the one that ships.

    Raises:
        FeatureError: a missing file, an unknown kind, field or option, or a value out of range. Names the feature.
    """
    path = path or _SHIPPED
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise FeatureError(f"{path}: over {_MAX_BYTES:,} bytes are too many for a feature config. Set model.features.")
        root = yaml.compose(text.decode("utf-8"), Loader=yaml.SafeLoader)
        if root is not None:
            check_yaml(root, str(path), FeatureError)
        content = yaml.safe_load(text)
    except FileNotFoundError:
        raise FeatureError(f"{path}: there is no such feature config. Set model.features.") from None
    except OSError as error:
        raise FeatureError(
            f"{path}: the feature config can't be read: {error.strerror}. Set model.features to a file you may read."
        ) from None
    except RecursionError:
        raise FeatureError(f"{path}: this is nested too deeply. Expected one key 'features' with one entry a feature.") from None
    except (yaml.YAMLError, ValueError, AttributeError) as error:  # Of a tag that doesn't fit.
        raise FeatureError(f"{path}: this isn't YAML: {str(error).splitlines()[0]}.") from None
    rows = content["features"] if isinstance(content, dict) and list(content) == ["features"] else None
    if not isinstance(rows, dict) or not rows:
        raise FeatureError(f"{path}: expected one key 'features' with one entry a feature.")
    return FeatureConfig(tuple(_feature(str(name), row, path) for name, row in rows.items()))


def _feature(name: str, row: Any, path: Path) -> Feature:
    place = f"{path}: features.{name}"
    if not name.isidentifier():
        raise FeatureError(f"{place}: a name has only letters, digits and underscores.")
    if not isinstance(row, dict) or row.get("kind") not in KINDS:
        raise FeatureError(f"{place}: kind {row.get('kind') if isinstance(row, dict) else row!r} is unknown. Known: {', '.join(KINDS)}.")
    kind = row["kind"]
    known = _OPTIONS[kind] | {"kind", "fields"}
    unknown = sorted(set(row) - known, key=str)
    if unknown:
        raise FeatureError(f"{place}: unknown option {unknown[0]!r} of a {kind} feature. Known: {', '.join(sorted(known))}.")
    given = {**row, "fields": _fields(row.get("fields", [name]), kind, place)}
    if given.get("values") == "all":
        given["values"] = 0
    if "ngrams" in given:
        given["ngrams"] = _ngrams(given["ngrams"], place)
    feature = Feature(name=name, **given)
    _check(feature, place)
    return feature


def _fields(found: Any, kind: str, place: str) -> tuple[str, ...]:
    names = [found] if isinstance(found, str) else found
    if not isinstance(names, list) or not names or not all(isinstance(item, str) for item in names):
        raise FeatureError(f"{place}: fields {found!r} must be a list of product fields.")
    if kind in (NUMERIC, DENSE) and len(names) != 1:
        raise FeatureError(f"{place}: a {kind} feature reads one field, found {names}.")
    allowed = NUMERIC_FIELDS if kind == NUMERIC else FIELDS
    for item in names:
        if kind == DENSE:
            if not item.isidentifier() or item in FIELDS:
                raise FeatureError(f"{place}: {item!r} can't hold a vector. Name a field of its own, such as image_vector.")
        elif item not in allowed:
            raise FeatureError(f"{place}: field {item!r} is unknown for a {kind} feature. Known: {', '.join(allowed)}.")
    return tuple(names)


def _ngrams(found: Any, place: str) -> tuple[int, int]:
    if not isinstance(found, list) or len(found) != 2 or not all(isinstance(n, int) for n in found) or not 1 <= found[0] <= found[1] <= 8:
        raise FeatureError(f"{place}: ngrams {found!r} must be two whole numbers, 1 <= shortest <= longest <= 8.")
    return found[0], found[1]


def _check(feature: Feature, place: str) -> None:
    expected: Mapping[str, tuple[Any, ...]] = {
        "tokens": (WORDS, CHARACTERS),
        "weighting": WEIGHTINGS,
        "encoding": (EMBEDDING, ONE_HOT),
    }
    for name, choices in expected.items():
        if getattr(feature, name) not in choices:
            raise FeatureError(f"{place}: {name} {getattr(feature, name)!r} is unknown. Known: {', '.join(choices)}.")
    for name, low, high in (("values", 0, MAX_VALUES), ("minimum_count", 1, 10**9), ("max_tokens", 1, 4096), ("dimensions", 1, 65_536)):
        value = getattr(feature, name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise FeatureError(f"{place}: {name} {value!r} must be a whole number in [{low}, {high}].")
    if not isinstance(feature.scale, (int, float)) or not 0 < feature.scale <= 100:
        raise FeatureError(f"{place}: scale {feature.scale!r} must be a number in (0, 100].")
    if not isinstance(feature.logarithm, bool):
        raise FeatureError(f"{place}: logarithm {feature.logarithm!r} must be true or false.")


FEATURE_OPTIONS = tuple(field.name for field in fields(Feature))
