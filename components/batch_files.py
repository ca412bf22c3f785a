"""Says what the files of a SamplingBatch hold, and reads them; plain Python, for programs that only answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
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
        manifest = BatchManifest(**json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
        items = [json.loads(line) for line in (folder / ITEMS).read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError, TypeError) as error:
        raise SamplingError(f"{folder}: this isn't a sampling batch: {error}. Run Sampler to its end.") from None
    if manifest.format_version > FORMAT_VERSION:
        found = f"{folder}: this batch is of format {manifest.format_version}, 1 to {FORMAT_VERSION} are read"
        raise SamplingError(f"{found}. Use a later release.")
    return items, manifest


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
