"""Shows a study: means and 95 % intervals by budget, as text, as a plot and as one page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import stats

from pipeline.commands.options import write_line, write_note
from studies.replay import ALL
from studies.result_lines import Line, key_of

CONFIDENCE = 0.95
_PAGES = Path(__file__).parent / "pages"
# What is shown of each line, the first two in the plot as well.
MEASURES = {
    "hierarchical_f1": "hierarchical F1",
    "macro_f1": "macro F1",
    "weighted_f1_over_depths": "weighted F1, mean over depths",
    "accuracy": "accuracy",
    "nodes_seen": "nodes seen",
    "learn_cpu_seconds": "CPU seconds of the last fit",
    "cpu_seconds": "CPU seconds of the campaign",
}
_PLOTTED, _IN_TEXT = ("hierarchical_f1", "macro_f1"), ("hierarchical_f1", "macro_f1", "weighted_f1_over_depths")
_PLOT_INCHES, _DOTS_PER_INCH = (12.0, 5.0), 110


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean: of the seeds.
        half_width: of the 95 % interval by Student's t; None for one seed.
        count: seeds.
    """

    mean: float
    half_width: float | None
    count: int

    def __str__(self) -> str:
        text = f"{self.mean:.4f}" if abs(self.mean) <= 1 else f"{self.mean:,.1f}"
        if self.half_width is None:
            return text
        return f"{text} ± {self.half_width:.4f}" if abs(self.mean) <= 1 else f"{text} ± {self.half_width:,.1f}"


def estimate(values: Sequence[float]) -> Estimate:
    """Returns the mean and its interval.

    >>> print(estimate([0.5, 0.6, 0.7]))
    0.6000 ± 0.2484
    """
    count, mean = len(values), float(np.mean(values))
    if count < 2:
        return Estimate(mean, None, count)
    error = float(np.std(values, ddof=1)) / count**0.5
    return Estimate(mean, float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * error, count)


@dataclass(frozen=True)
class Curve:
    """What a strategy scores by budget.

    Attributes:
        case: name of the catalogue.
        name: of the strategy, with its variant.
        points: budget, a number or `all`, to measure to estimate; in rising order.
    """

    case: str
    name: str
    points: Mapping[Any, Mapping[str, Estimate]]


def curves(lines: Iterable[Line]) -> list[Curve]:
    """Returns a curve for every case, strategy and variant, in the order they first appear, `default` before others."""
    gathered: dict[tuple[str, str], dict[Any, list[Line]]] = {}
    for line in lines:
        name = ", ".join(part for part in (line["strategy"], line.get("variant", "")) if part)
        gathered.setdefault((line["case"], name), {}).setdefault(line.get("budget", line["answers"]), []).append(line)
    found = []
    for (case, name), by_budget in gathered.items():
        budgets = sorted(by_budget, key=lambda budget: (budget == ALL, budget if budget != ALL else 0))
        found.append(Curve(case, name, {budget: _estimates(by_budget[budget]) for budget in budgets}))
    return sorted(found, key=lambda curve: (curve.case, not curve.name.startswith("default")))


def _estimates(lines: Sequence[Line]) -> dict[str, Estimate]:
    values = {name: [float(line[name]) for line in lines if line.get(name) is not None] for name in MEASURES}
    return {name: estimate(found) for name, found in values.items() if found}


def show_report(path: Path, lines: Sequence[Line]) -> int:
    """Writes tables on standard output, page and plot beside a study's lines, and returns the exit code."""
    ordered = sorted(lines, key=lambda line: [str(part) for part in key_of(line)])
    for text in (*table_lines(ordered), *loss_lines(ordered)):
        write_line(text)
    for written in write_report(path, ordered):
        write_note(f"written: {written}")
    return 0


def loss_lines(lines: Sequence[Line]) -> Iterator[str]:
    """Yields the table of what each kind of noise costs in hierarchical F1, in points of 100, seed by seed against the clean catalogue."""
    noisy = [line for line in lines if "noise" in line]
    clean = {(line["case"], line["seed"], line["budget"]): line["hierarchical_f1"] for line in noisy if not line["variant"]}
    costs: dict[str, dict[Any, list[float]]] = {}
    for line in noisy:
        key = (line["case"], line["seed"], line["budget"])
        if line["variant"] and key in clean:
            loss = 100 * (clean[key] - line["hierarchical_f1"])
            costs.setdefault(line["noise"], {}).setdefault(line["budget"], []).append(loss)
    if costs:
        every = {budget for cost in costs.values() for budget in cost}
        budgets = sorted(every - {ALL}) + [ALL] * (ALL in every)
        rows = [[name, *(_points(cost.get(budget)) for budget in budgets)] for name, cost in costs.items()]
        yield from _aligned([["points of hierarchical F1 lost", *map(str, budgets)], *rows])


def _points(losses: Sequence[float] | None) -> str:
    if not losses:
        return ""
    found = estimate(losses)
    return f"{found.mean:.2f}" if found.half_width is None else f"{found.mean:.2f} ± {found.half_width:.2f}"


def table_lines(lines: Iterable[Line]) -> Iterator[str]:
    """Yields the tables as text: a row a strategy, a column a budget, mean and half the interval."""
    every = curves(lines)
    for case in dict.fromkeys(curve.case for curve in every):
        for measure in _IN_TEXT:
            rows = [curve for curve in every if curve.case == case and any(measure in point for point in curve.points.values())]
            budgets = _budgets(rows)
            if rows:
                head = [f"{case}: {MEASURES[measure]}", *map(str, budgets)]
                yield from _aligned([head, *([curve.name, *_cells(curve, budgets, measure)] for curve in rows)])
                yield ""
    seeds = {curve.name: {point[next(iter(point))].count for point in curve.points.values() if point} for curve in every}
    said = ", ".join(f"{name} {'-'.join(map(str, sorted({min(counts), max(counts)})))}" for name, counts in seeds.items() if counts)
    yield f"mean ± half the 95 % interval over seeds: {said}"


def _budgets(rows: Sequence[Curve]) -> list[Any]:
    every = {budget for curve in rows for budget in curve.points}
    return sorted(every - {ALL}) + [ALL] * (ALL in every)


def _cells(curve: Curve, budgets: Sequence[Any], measure: str) -> list[str]:
    return [str(curve.points[budget][measure]) if measure in curve.points.get(budget, {}) else "" for budget in budgets]


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first = f"{row[0]:{widths[0]}}"
        yield "  ".join([first, *(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))]).rstrip()


def write_report(path: Path, lines: Sequence[Line]) -> list[Path]:
    """Writes the plot as PNG and a page that needs nothing beside it, next to a study's lines, and returns both files."""
    every = curves(lines)
    image = plot_png(every)
    plot, page = path.with_name(f"{path.name}.png"), path.with_name(f"{path.name}.html")
    plot.write_bytes(image)
    page.write_text(_page(path.name, every, image, len(lines)), encoding="utf-8")
    return [page, plot]


def plot_png(every: Sequence[Curve]) -> bytes:
    """Returns the plot: a row a case; hierarchical and macro F1 by answers, a band for the interval, a dotted line for `all`."""
    cases = list(dict.fromkeys(curve.case for curve in every))
    figure = Figure(figsize=(_PLOT_INCHES[0], _PLOT_INCHES[1] * len(cases)), dpi=_DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(cases), len(_PLOTTED), squeeze=False)
    for row, case in enumerate(cases):
        for column, measure in enumerate(_PLOTTED):
            _draw(axes[row][column], [curve for curve in every if curve.case == case], measure)
            axes[row][column].set_title(f"{case}: {MEASURES[measure]}")
        axes[row][0].legend(loc="lower right", fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw(axes: Any, rows: Sequence[Curve], measure: str) -> None:
    for number, curve in enumerate(rows):
        colour = f"C{number % 10}"
        found = [(budget, point[measure]) for budget, point in curve.points.items() if budget != ALL and measure in point]
        budgets, means = [budget for budget, _ in found], np.array([each.mean for _, each in found])
        widths = np.array([each.half_width or 0.0 for _, each in found])
        axes.plot(budgets, means, color=colour, marker="o", markersize=3, label=curve.name)
        axes.fill_between(budgets, means - widths, means + widths, color=colour, alpha=0.2, linewidth=0)
        if measure in curve.points.get(ALL, {}):
            axes.axhline(curve.points[ALL][measure].mean, color=colour, linestyle=":", linewidth=1)
    axes.set_xscale("symlog", linthresh=100, linscale=0.4)
    ticks = sorted({budget for curve in rows for budget in curve.points if budget != ALL})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("answers of people")
    axes.grid(alpha=0.3)


def _page(name: str, every: Sequence[Curve], image: bytes, num_lines: int) -> str:
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(_PAGES), autoescape=True, undefined=jinja2.StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    tables = []
    for case in dict.fromkeys(curve.case for curve in every):
        for measure, title in MEASURES.items():
            rows = [curve for curve in every if curve.case == case and any(measure in point for point in curve.points.values())]
            budgets = _budgets(rows)
            if rows:
                tables.append((f"{case}: {title}", budgets, [(curve.name, _cells(curve, budgets, measure)) for curve in rows]))
    seeds = max((each.count for curve in every for point in curve.points.values() for each in point.values()), default=0)
    picture = base64.b64encode(image).decode()
    return environment.get_template("study.html").render(name=name, tables=tables, picture=picture, num_lines=num_lines, seeds=seeds)
