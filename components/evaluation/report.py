"""Renders the evaluation as one self-contained page that a manager can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from components.evaluation.evaluate import worst_nodes

PAGES = Path(__file__).parent / "pages"
_ROWS = 30
_RULES = 8
# Fewer judged products than this say little about a rule.
_MIN_RULE_JUDGED = 5
_MISSING = "–"


def write_report(
    path: Path,
    metrics: Mapping[str, Any],
    rule_report: Mapping[str, Any] | None = None,
    quarantine: Mapping[str, Any] | None = None,
    tfma_page: str = "tfma.html",
    paths: Mapping[str, str] | None = None,
) -> None:
    """Writes the report: inline style, no script, no request to anywhere, readable in print and in the dark.

    Args:
        path: the HTML file.
        metrics: the content of `metrics.json`, see `evaluate.evaluate` and docs/contracts.md.
        rule_report: the content of `rule_report.json`, if any.
        quarantine: the content of the quarantine's `summary.json`, if any.
        tfma_page: where the page of TFMA's viewer is, relative to the report; empty for none.
        paths: node id to what a reader should see instead; ids that aren't there are shown as they are.
    """
    path.write_text(render_report(metrics, rule_report, quarantine, tfma_page, paths), encoding="utf-8")


def render_report(
    metrics: Mapping[str, Any],
    rule_report: Mapping[str, Any] | None = None,
    quarantine: Mapping[str, Any] | None = None,
    tfma_page: str = "tfma.html",
    paths: Mapping[str, str] | None = None,
) -> str:
    """Returns the page that `write_report` writes."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(PAGES), autoescape=True, undefined=jinja2.StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters |= {"percent": percent, "points": points, "count": count, "decimals": decimals}
    nodes = metrics["by_node"]
    return environment.get_template("report.html").render(
        metrics=metrics,
        old=metrics["baseline"],
        headline=_headline(metrics),
        worst=[(node_id, nodes[node_id], metrics["examples"]["worst_nodes"].get(node_id, [])) for node_id in worst_nodes(nodes)],
        roots=_most_judged(metrics["by_root"]),
        shops=_most_judged(metrics["by_shop"]),
        rows=_ROWS,
        confusions=[
            row | {"from": nodes[row["truth"]]["path"], "to": nodes[row["predicted"]]["path"]} for row in metrics["confusions"][:20]
        ],
        rules=_rule_highlights(rule_report) if rule_report else None,
        rule_report=rule_report,
        quarantine=quarantine,
        refused=_refused(quarantine) if quarantine else [],
        calibration=_calibration_bars(metrics["calibration"]),
        tfma_page=tfma_page,
        paths=paths or {},
    )


def percent(value: float | None) -> str:
    r"""Returns a share as percent with one decimal, a dash where it is undefined.

    >>> percent(0.1234), percent(None)
    ('12.3\xa0%', '–')
    """
    return _MISSING if value is None else f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def points(value: float | None, before: float | None) -> str:
    """Returns a change of a share in percentage points with its sign.

    >>> points(0.5, 0.523), points(0.5, None)
    ('−2.3', '')
    """
    if value is None or before is None:
        return ""
    change = round(100 * (value - before), 1)
    return "±0.0" if not change else f"{change:+.1f}".replace("-", "\N{MINUS SIGN}")


def count(value: float | None) -> str:
    """Returns a whole number with thousands set apart.

    >>> count(12345)
    '12,345'
    """
    return _MISSING if value is None else f"{int(value):,}"


def decimals(value: float | None) -> str:
    """Returns a number with two decimals, a dash where it is undefined."""
    return _MISSING if value is None else f"{value:.2f}"


# Metric, what a manager calls it, what the literature calls it, and what it says.
_HEADLINE = (
    (
        "accuracy",
        "Right at the first go",
        "accuracy",
        "Share of judged products whose predicted category is exactly the one a person chose.",
    ),
    (
        "top_5",
        "Right among five",
        "top 5",
        "Share whose right category is among the model's five best guesses, as a labeller sees them.",
    ),
    (
        "hierarchical_f1",
        "Right along the tree",
        "hierarchical F1",
        "Gives part credit: to say “Shoes” where “Shoes > Sneakers” is right counts in part. The gate watches this.",
    ),
    (
        "macro_f1",
        "Every category alike",
        "macro F1",
        "The average over categories, so that rare ones count as much as common ones.",
    ),
    (
        "weighted_f1",
        "Weighted by products",
        "weighted F1",
        "The average over categories, each counted as often as it has products.",
    ),
    (
        "calibration_error",
        "Sureness is off by",
        "calibration error",
        "How far “I'm 90 % sure” is from being right 90 % of the time. Lower is better.",
    ),
)
_LOWER_IS_BETTER = ("calibration_error",)


def _headline(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    old = (metrics["baseline"] or {}).get("exclusive", {})
    cards = []
    for key, label, term, says in _HEADLINE:
        value, before = metrics["exclusive"][key], old.get(key)
        gained = None if value is None or before is None else (before - value if key in _LOWER_IS_BETTER else value - before)
        mood = "" if gained is None or abs(gained) < 0.0005 else "good" if gained > 0 else "bad"
        cards.append({"label": label, "term": term, "says": says, "value": value, "before": before, "mood": mood})
    return cards


def _most_judged(rows: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    return sorted(rows.items(), key=lambda item: -item[1]["judged"])


def _rule_highlights(report: Mapping[str, Any]) -> dict[str, Sequence[Mapping[str, Any]]]:
    judged = [rule for rule in report.get("rules", []) if rule.get("judged", 0) >= _MIN_RULE_JUDGED and rule.get("precision") is not None]
    surest = sorted(judged, key=lambda rule: (-rule["precision_low"], -rule["matches"]))
    doubtful = sorted(judged, key=lambda rule: (rule["precision_high"], -rule["matches"]))
    best = surest[:_RULES]
    return {"best": best, "worst": [rule for rule in doubtful if rule["precision"] < 1 and rule not in best][:_RULES]}


def _refused(quarantine: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    shops = quarantine.get("by_shop") or {}
    return sorted(((shop, row) for shop, row in shops.items() if row["refused"]), key=lambda item: -item[1]["refused"])[:10]


def _calibration_bars(table: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the bars of a 300 x 200 drawing: how often the model is right for each level of sureness."""
    most = max((row["products"] for row in table), default=1)
    return [
        {
            "x": round(300 * row["from"] + 1, 1),
            "width": round(300 * (row["to"] - row["from"]) - 2, 1),
            "height": round(200 * row["accuracy"], 1),
            "opacity": round(0.3 + 0.7 * row["products"] / most, 2),
            "row": row,
        }
        for row in table
    ]
