"""Compares two versions: settings, data, scores by depth, and which judged products changed, by part of the tree."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.evaluation.judgements import JUDGEMENTS, Judgement, read_judgements
from pipeline.version_origins import SCORES, latest_judged, snapshot_folder
from schemas.errors import EvaluationError

GAINED, LOST, CHANGED = "gained", "lost", "changed"
KINDS = (GAINED, LOST, CHANGED)
_COUNTS = ("sha256", "rows", "refused", "duplicates", "groups", "num_nodes", "num_rules", "num_events", "newest_ms")
_MISSING = object()
# As docs/contracts.md names them; the module that writes them loads TensorFlow.
_TAXONOMY, _RULES, _LABELS = "taxonomy.tsv", "rules.tsv", "label_events.jsonl"


def compare(before: Mapping[str, Any], after: Mapping[str, Any], num_examples: int) -> dict[str, Any]:
    """Returns how two versions differ, as plain data.

    Args:
        before: as `version_origins.origins` returns it.
        after: the other one, likewise.
        num_examples: products shown of each kind of change in each part of the tree.

    Returns:
        `before` and `after` (version, run), `settings` (key to both values), `code` (stage to both digests), `data` (`data`,
        `taxonomy`, `rules`, `labels`: what differs, with ids added, removed and changed where both snapshots are there),
        `scores` (slice to score to both values), `products` (as `changed_products`), `notes`.
    """
    notes: list[str] = []
    return {
        "before": {name: before[name] for name in ("version", "run")},
        "after": {name: after[name] for name in ("version", "run")},
        "settings": changed_settings(before["settings"], after["settings"]),
        "code": changed_settings(_code(before), _code(after)),
        "data": {name: _changed_input(name, before, after, notes) for name in ("data", "taxonomy", "rules", "labels")},
        "scores": _scores(before, after, notes),
        "products": _products(before, after, num_examples, notes),
        "notes": notes,
    }


def changed_settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Returns the settings that differ, by their dotted key, with both values; None where one side lacks it.

    >>> changed_settings({"run": {"seed": 1, "name": "a"}}, {"run": {"seed": 2, "name": "a"}})
    {'run.seed': [1, 2]}
    """
    old, new = dict(flat(before)), dict(flat(after))
    keys = [key for key in (*old, *(key for key in new if key not in old)) if old.get(key, _MISSING) != new.get(key, _MISSING)]
    return {key: [old.get(key), new.get(key)] for key in keys}


def _code(described: Mapping[str, Any]) -> dict[str, str]:
    return {stage["node"]: stage["code"] for stage in described["stages"] if stage["code"]}


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yields dotted key and value of nested settings; a list is one value."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _changed_input(name: str, before: Mapping[str, Any], after: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    old, new = before.get(name) or {}, after.get(name) or {}
    changed: dict[str, Any] = {key: [old.get(key), new.get(key)] for key in _COUNTS if old.get(key) != new.get(key)}
    if not changed or name not in _READERS:
        return changed
    folders = [snapshot_folder(described, name) for described in (before, after)]
    if folders[0] is None or folders[1] is None:
        notes.append(f"A snapshot of the {name} is gone, so what was added and removed can't be told.")
        return changed
    rows = [_READERS[name](folder) for folder in folders if folder]
    changed["added"] = sorted(set(rows[1]) - set(rows[0]))
    changed["removed"] = sorted(set(rows[0]) - set(rows[1]))
    changed["changed"] = sorted(key for key in set(rows[0]) & set(rows[1]) if rows[0][key] != rows[1][key])
    return changed


def _tsv(file: str, key: str) -> Any:
    def read(folder: Path) -> dict[str, dict[str, str]]:
        with (folder / file).open(encoding="utf-8", newline="") as lines:
            return {row[key]: row for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)}

    return read


def _events(folder: Path) -> dict[str, str]:
    with (folder / _LABELS).open(encoding="utf-8") as lines:
        return {json.loads(line)["event_id"]: line for line in lines if line.strip()}


_READERS = {"taxonomy": _tsv(_TAXONOMY, "id"), "rules": _tsv(_RULES, "rule_id"), "labels": _events}


def _scores(before: Mapping[str, Any], after: Mapping[str, Any], notes: list[str]) -> dict[str, dict[str, list[Any]]]:
    """Returns the scores of all judged products and of each depth, side by side."""
    found = [_metrics(described) for described in (before, after)]
    if not all(found):
        notes.append("The scores of one version are gone, so they can't be compared.")
        return {}
    depths = sorted({*found[0]["by_depth"], *found[1]["by_depth"]}, key=int)
    slices: dict[str, list[Mapping[str, Any]]] = {"all": [metrics["exclusive"] for metrics in found]}
    slices |= {f"depth {depth}": [metrics["by_depth"].get(depth, {}) for metrics in found] for depth in depths}
    return {name: {score: [part.get(score) for part in parts] for score in ("judged", *SCORES)} for name, parts in slices.items()}


def _metrics(described: Mapping[str, Any]) -> dict[str, Any]:
    judged = latest_judged(described)
    try:
        found = json.loads((Path(judged["folder"]) / "metrics.json").read_text(encoding="utf-8")) if judged else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _products(before: Mapping[str, Any], after: Mapping[str, Any], num_examples: int, notes: list[str]) -> dict[str, Any] | None:
    parts = []
    for described in (before, after):
        judged = latest_judged(described)
        try:
            parts.append(read_judgements(Path(judged["folder"]) / JUDGEMENTS) if judged else None)
        except EvaluationError as error:
            notes.append(str(error))
            parts.append(None)
    if parts[0] is None or parts[1] is None:
        notes.append("What each product was judged isn't there for both versions, so changed products can't be told.")
        return None
    return changed_products(parts[0], parts[1], num_examples)


def changed_products(before: Sequence[Judgement], after: Sequence[Judgement], num_examples: int) -> dict[str, Any]:
    """Returns which products that both versions were judged on changed, over all and by root of the tree.

    Only products that both were judged on, with the same answer, are compared: of another answer neither gain nor loss can be
    told.

    Args:
        before: what the one version was judged to have said.
        after: what the other one was.
        num_examples: products shown of each kind of change in each part, the surest first.

    Returns:
        `compared`, `only_before`, `only_after`, `answer_changed` (counts of products), `gained` (wrong, now right), `lost`,
        `changed` (wrong, now wrong otherwise), and `by_root`: name to the three counts and `examples` of each, most
        changed first.
    """
    old, new = ({judgement.product_id: judgement for judgement in part} for part in (before, after))
    both = [(old[product], new[product]) for product in new if product in old]
    same = [pair for pair in both if pair[0].answer == pair[1].answer]
    kinds = [(kind, pair) for pair in same if (kind := _kind(*pair))]
    return {
        "compared": len(same),
        "only_before": len(old) - len(both),
        "only_after": len(new) - len(both),
        "answer_changed": len(both) - len(same),
        **{kind: sum(found == kind for found, _ in kinds) for kind in KINDS},
        "by_root": _by_root(kinds, num_examples),
    }


def _kind(before: Judgement, after: Judgement) -> str:
    if before.predicted == after.predicted:
        return ""
    return GAINED if after.is_right else LOST if before.is_right else CHANGED


def _by_root(kinds: Sequence[tuple[str, tuple[Judgement, Judgement]]], num_examples: int) -> dict[str, dict[str, Any]]:
    roots: dict[str, dict[str, list[tuple[Judgement, Judgement]]]] = {}
    for kind, pair in kinds:
        roots.setdefault(pair[1].root, {name: [] for name in KINDS})[kind].append(pair)
    ordered = sorted(roots.items(), key=lambda item: (-sum(map(len, item[1].values())), item[0]))
    return {
        root: {
            **{kind: len(pairs) for kind, pairs in found.items()},
            "examples": {kind: _examples(pairs, num_examples) for kind, pairs in found.items()},
        }
        for root, found in ordered
    }


def _examples(pairs: Sequence[tuple[Judgement, Judgement]], count: int) -> list[dict[str, str]]:
    surest = sorted(pairs, key=lambda pair: (-pair[1].probability, pair[1].product_id))[:count]
    return [
        {
            "id": after.product_id,
            "title": after.title,
            "answer": after.answer_path,
            "before": before.predicted_path,
            "after": after.predicted_path,
        }
        for before, after in surest
    ]
