"""Carries weights from the last model into the next, matched by the names of tokens and nodes."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from trainer_module.layout import Layout
from trainer_module.tree import Tree
from trainer_module.zoo.contract import COLUMN_AXIS, EXCLUSIVE_AXIS, NODE_AXIS, Network, value_axis

log = logging.getLogger(__name__)
_WEIGHTS, _NAMES = "warm_start.npz", "warm_start.json"


def axis_names(layout: Layout, tree: Tree) -> dict[str, list[str]]:
    """Returns the names along every named axis a network may have."""
    names = {COLUMN_AXIS: layout.column_names(), NODE_AXIS: tree.node_ids, EXCLUSIVE_AXIS: tree.exclusive_ids}
    names.update({value_axis(f.name): list(layout.vocabularies[f.name]) or [""] for f in layout.embedded})
    return names


def save_weights(folder: Path, family: str, network: Network, names: Mapping[str, Sequence[str]]) -> None:
    """Writes every weight and the names along its axes."""
    buffer = io.BytesIO()
    np.savez(buffer, **{name: variable.numpy() for name, variable in network.weights.items()})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _WEIGHTS).write_bytes(buffer.getvalue())
    used = {axis for axes in network.axes.values() for axis in axes if axis}
    content = {
        "family": family,
        "axes": {name: list(axes) for name, axes in network.axes.items()},
        "names": {axis: list(names[axis]) for axis in sorted(used)},
    }
    (folder / _NAMES).write_text(json.dumps(content, ensure_ascii=False, sort_keys=True), encoding="utf-8")


def load_weights(folder: Path, family: str, network: Network, names: Mapping[str, Sequence[str]]) -> float:
    """Copies what matches into a fresh network.

    Returns:
        the share of weights that were carried over, 0 if the folder holds another family's or none.
    """
    if not (folder / _NAMES).exists() or not (folder / _WEIGHTS).exists():
        log.info("warm_start nothing_at=%s", folder)
        return 0.0
    content = json.loads((folder / _NAMES).read_text(encoding="utf-8"))
    if content["family"] != family:
        log.info("warm_start other_family=%s", content["family"])
        return 0.0
    carried = total = 0
    with np.load(folder / _WEIGHTS, allow_pickle=False) as stored:
        for name, variable in network.weights.items():
            total += int(np.prod(variable.shape))
            if name in stored:
                carried += _carry(variable, stored[name], network.axes[name], content["names"], names)
    return carried / max(total, 1)


def _carry(variable, old: np.ndarray, axes: Sequence[str], old_names: Mapping, names: Mapping) -> int:  # type: ignore[no-untyped-def]
    if len(old.shape) != len(variable.shape):
        return 0
    here, there = [], []
    for size, old_size, axis in zip(variable.shape, old.shape, axes, strict=True):
        mine, theirs = _matches(names[axis], old_names[axis]) if axis else _same(size, old_size)
        here.append(mine)
        there.append(theirs)
    if any(len(mine) == 0 for mine in here):
        return 0
    value = variable.numpy()
    value[np.ix_(*here)] = old[np.ix_(*there)]
    variable.assign(value)
    return int(np.prod([len(mine) for mine in here]))


def _same(size: int, old_size: int) -> tuple[np.ndarray, np.ndarray]:
    every = np.arange(size if size == old_size else 0)
    return every, every


def _matches(names: Sequence[str], old_names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    place = {name: i for i, name in enumerate(old_names)}
    pairs = [(i, place[name]) for i, name in enumerate(names) if name in place]
    return np.array([i for i, _ in pairs], np.int64), np.array([j for _, j in pairs], np.int64)
