"""Writes a run's results as the table a person reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def summary_lines(results: Mapping[str, Any]) -> list[str]:
    """Returns the lines of the table: products, labels, scores by depth, what went live, and where everything is."""
    products, labels, batch, index = results["products"], results["labels"], results["batch"], results["index"]
    by_split = products.get("by_split", {})
    lines = [
        "",
        f"products   {products['rows']:,} rows in, {products['refused']:,} refused, {products['duplicates']:,} superseded; "
        f"{by_split.get('dev', 0):,} dev, {by_split.get('test', 0):,} test",
        f"labels     {labels['joined']:,} answers of people, {labels['rules']['products']:,} products by rules "
        f"({_percent(labels['rules']['coverage'])} covered)",
        "",
        *score_table(results),
        *_bought(results),
        *_compared(results),
        *_accepted(results),
        *_audited(results),
        "",
        _verdict(results),
        f"index      {index['kind']}, {index['num_products']:,} products x {index['dimension']}, recall {index['recall']:.3f}",
        f"batch      {batch['num_items']:,} products to label next, by {batch['strategy']}",
        "",
    ]
    lines += [f"{name:10s} {path}" for name, path in results["paths"].items() if name in ("report", "model", "index", "batch", "log")]
    lines.append(f"{'took':10s} {results['seconds']:.0f} s, {results['peak_rss_mb']:,} MB at most")
    return lines


def score_table(results: Mapping[str, Any]) -> Sequence[str]:
    """Returns the scores of the exclusive head, in all and by depth, beside the live model's where there is one.

    Args:
        results: `exclusive`, `by_depth` and `baseline`, as `metrics.json` and a run's results hold them.
    """
    baseline = results.get("baseline") or {}
    header = f"{'judged on test':16s} {'products':>9s} {'accuracy':>9s} {'hier. F1':>9s} {'macro F1':>9s}"
    rows = [header + ("   live hier. F1" if baseline else "")]
    rows.append(_score_row("exclusive head", results["exclusive"], baseline.get("exclusive")))
    theirs = baseline.get("by_depth") or {}
    for depth, scores in sorted(results["by_depth"].items(), key=lambda item: int(item[0])):
        rows.append(_score_row(f"  depth {depth}", scores, theirs.get(depth)))
    return rows


def _bought(results: Mapping[str, Any]) -> Sequence[str]:
    """Returns what more answers brought beside the live model, or nothing where there is none."""
    learnt, baseline = results["learnt_from"], (results.get("baseline") or {}).get("exclusive") or {}
    if learnt["live"] is None or not baseline:
        return []
    changes = []
    for key, name in (("accuracy", "accuracy"), ("hierarchical_f1", "hierarchical F1"), ("macro_f1", "macro F1")):
        now, then = results["exclusive"].get(key), baseline.get(key)
        if now is not None and then is not None:
            changes.append(f"{name} {now - then:+.4f}")
    return [f"learnt from {learnt['now']:,} answers, {learnt['now'] - learnt['live']:+,} against the live model: {', '.join(changes)}"]


def _compared(results: Mapping[str, Any]) -> Sequence[str]:
    """Returns which model family won, or nothing where none were compared."""
    found = results.get("families")
    if not found:
        return []
    shares = ", ".join(f"{name} {_percent(scores['accuracy'])}" for name, scores in found["scores"].items())
    return [f"family     {found['winner']} won; right of {found['num_judged']:,} held-out answers: {shares}"]


def _accepted(results: Mapping[str, Any]) -> Sequence[str]:
    """Returns what the model's word was taken for among the judged products, and how often that was right."""
    found = results.get("acceptance")
    if not found:
        return []
    if found["state"] != "promised":
        return [f"accepted   {found['says']}"]
    parts = [f"{_accepted_part(found['judged'][kind])} {where}" for kind, where in (("answer", "at the answer"), ("ancestor", "above it"))]
    return [f"accepted   {100 * found['promised']:g} % promised; of test products {', '.join(parts)}"]


def _accepted_part(row: Mapping[str, Any]) -> str:
    right = "" if row["precision"] is None else f" ({100 * row['precision']:.1f} % right)"
    return f"{_percent(row['coverage'] or 0.0)}{right}"


def _audited(results: Mapping[str, Any]) -> Sequence[str]:
    """Returns how good models were on random products before anybody answered them, or nothing where nobody has."""
    found = results.get("audit") or {"at_answer": {"judged": 0}}
    if not found["at_answer"]["judged"]:
        return []

    def said(share: Mapping[str, Any]) -> str:
        return f"{_percent(share['value'])} ({100 * share['low']:.0f} to {100 * share['high']:.0f})"

    depths = "; ".join(f"depth {depth} {said(share)}" for depth, share in found["by_depth"].items())
    versions = ", ".join(str(version) for version in found["versions"])
    judged = f"{found['at_answer']['judged']:,} random products, before they were answered"
    return [
        f"audit      {said(found['at_answer'])} right on {judged}; {depths}",
        f"           judged: version {versions}; the interval is of 95 %",
    ]


def _score_row(name: str, scores: Mapping[str, Any], baseline: Mapping[str, Any] | None) -> str:
    cells = [_score(scores.get(key)) for key in ("accuracy", "hierarchical_f1", "macro_f1")]
    row = f"{name:16s} {scores.get('judged', 0):9,} {cells[0]:>9s} {cells[1]:>9s} {cells[2]:>9s}"
    if not baseline:
        return row
    now, then = scores.get("hierarchical_f1"), baseline.get("hierarchical_f1")
    change = f"{now - then:+.4f}" if now is not None and then is not None else ""
    return f"{row}   {_score(then)} {change}"


def _verdict(results: Mapping[str, Any]) -> str:
    if results["blessed"] and results["version"]:
        return f"blessed    yes: version {results['version']} of model and index is live"
    if results["blessed"]:
        return f"blessed    yes, but it isn't live: {results.get('not_live') or 'the log says why'}"
    return "blessed    no: " + ("; ".join(results["reasons"]) or "no reason was given")


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
