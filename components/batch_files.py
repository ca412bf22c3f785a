"""Says what the files of a SamplingBatch hold, and reads them; plain Python, for programs that only answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from schemas.errors import SamplingError
from schemas.group_answers import GroupQuestion

ITEMS, MANIFEST = "batch.jsonl", "manifest.json"
# What an item asks about. Format 2 says so; in a batch of format 1 every item is a product.
KIND, PRODUCT_KIND, QUESTION_KIND = "kind", "product", "group"
FORMAT_VERSION = 2


@dataclass(frozen=True)
class BatchManifest:
    """What `manifest.json` says.

    Attributes:
        batch_id: 16 hexadecimal digits, a digest of the items: the same items are the same batch.
        strategy: name.
        seed: of the draw.
        num_items: products and groups in the batch.
        pool: products that could have been asked.
        version: of the live model that scored; 0 where the scores are a candidate's that isn't live.
        audit_share: asked for.
        model: `candidate` or `blessed`: who scored.
        subtree, shop: what the batch is limited to; empty: nothing.
        num_questions: items about groups of products.
        format_version: of the batch; one that an earlier release wrote says nothing, and is 1.
    """

    batch_id: str
    strategy: str
    seed: int
    num_items: int
    pool: int
    version: int
    audit_share: float
    model: str
    subtree: str = ""
    shop: str = ""
    num_questions: int = 0
    format_version: int = 1


def read_batch(folder: Path) -> tuple[list[dict[str, Any]], BatchManifest]:
    """Returns the items and the manifest of a batch of this release or an earlier one.

    Raises:
        SamplingError: a file is missing or damaged, or of a later release.
    """
    try:
        manifest = _manifest(json.loads((folder / MANIFEST).read_text(encoding="utf-8")), folder)
        lines = (folder / ITEMS).read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError, RecursionError) as error:
        raise SamplingError(f"{folder}: this isn't a sampling batch: {error}. Run Sampler to its end.") from None
    return [_item(line, f"{folder / ITEMS}:{number}") for number, line in enumerate(lines, 1) if line], manifest


def _manifest(found: Any, folder: Path) -> BatchManifest:
    version = found.get("format_version", 1) if isinstance(found, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise SamplingError(f"{folder}: this batch is of format {version}, 1 to {FORMAT_VERSION} are read. Use a later release.")
    known = {field.name: field for field in fields(BatchManifest)}
    needed = {name for name, field in known.items() if field.default is MISSING}
    if not isinstance(found, dict) or not needed <= set(found) <= set(known):
        raise ValueError(f"{MANIFEST} needs {', '.join(sorted(needed))} and may hold nothing unknown")
    for name, value in dict[str, Any](found).items():
        wanted: tuple[type, ...] = {"int": (int,), "float": (int, float), "str": (str,)}[str(known[name].type)]
        is_right = isinstance(value, wanted) and not isinstance(value, bool)
        if not is_right or (name == "format_version" and value < 1):
            raise ValueError(f"{MANIFEST} says {name} is {value!r}, expected {known[name].type}")
    return BatchManifest(**found)


def _item(line: str, place: str) -> dict[str, Any]:
    """Returns an item that programs can show."""
    try:
        found = json.loads(line)
        json.dumps(found, ensure_ascii=False).encode()  # A lone surrogate can't be shown or stored.
    except (ValueError, RecursionError) as error:
        raise SamplingError(f"{place}: this can't be read: {str(error)[:200]}. Let a run write the batch again.") from None
    is_product = isinstance(found, dict) and isinstance(found.get("product_id"), str) and bool(found["product_id"])
    if not is_product and not (isinstance(found, dict) and found.get(KIND) == QUESTION_KIND):
        raise SamplingError(f"{place}: this isn't an object with a product_id. Let a run write the batch again.")
    suggestions = found.get("suggestions") or []
    if not isinstance(suggestions, list) or not all(isinstance(each, dict) for each in suggestions):
        raise SamplingError(f"{place}: suggestions must be a list of objects. Let a run write the batch again.")
    return dict(found)


def questions_of(folder: Path) -> list[GroupQuestion]:
    """Returns the questions about groups of a batch.

    Raises:
        SamplingError: the folder holds no batch, or a question of it is damaged.
    """
    items, manifest = read_batch(folder)
    found = []
    for number, item in enumerate(items, 1):
        if item.get(KIND) == QUESTION_KIND:
            found.append(question_of(item, f"{folder}: item {number}", manifest.batch_id, manifest.version))
    return found


def question_of(item: Mapping[str, Any], place: str, batch_id: str, version: int) -> GroupQuestion:
    """Returns one item of kind `group` as a question.

    Raises:
        SamplingError: it has no question, members or examples. Starts with `place`.
    """
    members, examples = item.get("members"), item.get("examples")
    shown = [each.get("product_id") if isinstance(each, dict) else None for each in examples] if isinstance(examples, list) else []
    is_whole = isinstance(members, list) and members and shown and all(isinstance(each, str) and each for each in (*members, *shown))
    if not is_whole or not isinstance(item.get("question"), str) or not isinstance(members, list):
        raise SamplingError(f"{place}: a question about a group needs question, members and examples. Draw the batch again.")
    return GroupQuestion(item["question"], members, [str(each) for each in shown], batch_id, version)
