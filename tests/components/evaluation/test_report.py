"""Tests the report as text and in a real browser."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from components.evaluation.evaluate import evaluate
from components.evaluation.evaluation_files import read_optional_json, write_evaluation
from components.evaluation.report import render_report
from schemas.errors import EvaluationError
from tests.support.examples import write_examples
from tests.support.shop import judged_products, shop_taxonomy
from tests.support.toy_model import write_toy_model

TREE = shop_taxonomy()
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
RULES = {
    "products": 80,
    "covered": 40,
    "coverage": 0.5,
    "conflicts": 3,
    "rules": [
        {"rule_id": "r1", "node_id": "boots", "field": "title", "phrase": "boots", "regex": "", "veto": False, "matches": 30, "judged": 20}
        | {"right": 19, "precision": 0.95, "precision_low": 0.76, "precision_high": 0.99},
        {"rule_id": "r2", "node_id": "bags", "field": "brand", "phrase": HOSTILE, "regex": "", "veto": False, "matches": 9, "judged": 9}
        | {"right": 1, "precision": 0.11, "precision_low": 0.02, "precision_high": 0.43},
        {"rule_id": "r3", "node_id": "bags", "field": "brand", "phrase": "x", "regex": "", "veto": False, "matches": 9, "judged": 0}
        | {"right": 0, "precision": None, "precision_low": 0.0, "precision_high": 1.0},
    ],
}
QUARANTINE = {"rows": 1000, "refused": 20, "duplicates": 4, "by_shop": {"shop 1": {"rows": 500, "refused": 20}}}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Holds `first` (no baseline), `second` (with one, hostile texts) and `nothing` (no answer)."""
    root = tmp_path_factory.mktemp("report")
    write_toy_model(root / "model", TREE)
    write_toy_model(root / "old", TREE, seed=4)
    products = judged_products(TREE, 80)
    for product in products[::2]:
        product["title"] = f"{product['title']} {HOSTILE}"
        product["shop"] = f"<tfma-x onclick=alert(1)>{HOSTILE}"
    write_examples(root / "examples", products)
    write_examples(root / "unanswered", judged_products(TREE, 5, answered=0.0))
    for name, split, old, blessed in (
        ("first", "examples", None, True),
        ("second", "examples", root / "old", False),
        ("nothing", "unanswered", None, False),
    ):
        metrics = evaluate(root / split / "Split-test", root / "model", old, TREE, 32)
        metrics |= {"blessed": blessed, "reasons": [] if blessed else ["accuracy over all products is 0.1; at least 0.5 is needed."]}
        write_evaluation(root / name, metrics, TREE, None, RULES, QUARANTINE)
    return root


class Outline(HTMLParser):
    """Collects the ids, the links and what a page would fetch, and fails on tags that don't close."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids |= {values["id"]} if "id" in values else set()
        self.links |= {values["href"]} if tag == "a" else set()
        self.fetched += [values[name] for name in ("src", "href", "action") if name in values and tag != "a"]
        if tag not in ("meta", "br", "img", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} closed, {self.open} open"


@pytest.mark.parametrize("name", ["first", "second", "nothing"])
def test_the_page_is_whole_and_fetches_nothing(root, name):
    page = (root / name / "report.html").read_text(encoding="utf-8")
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    assert outline.fetched == []
    assert "<script" not in page
    assert "url(" not in page and "@import" not in page
    assert {link[1:] for link in outline.links if link.startswith("#")} <= outline.ids
    assert {link for link in outline.links if not link.startswith("#")} == {"tfma.html"}


def test_headline_numbers_and_reasons_are_there(root):
    metrics = read_optional_json(root / "second" / "metrics.json")
    text = html.unescape((root / "second" / "report.html").read_text(encoding="utf-8"))
    for source in (metrics, metrics["baseline"]):
        assert f"{100 * source['exclusive']['accuracy']:.1f}\N{NO-BREAK SPACE}%" in text
    assert "Not blessed: this model does not go live." in text
    assert metrics["reasons"][0] in text
    assert "What changed since the blessed model" in text
    assert "Clothes > Women > Dresses" in text
    assert "20 of 1,000 rows" in text
    assert "r1" in text and "r3" not in text


def test_the_first_model_has_nothing_to_compare_with(root):
    text = (root / "first" / "report.html").read_text(encoding="utf-8")
    assert "Blessed: this model may go live." in text
    assert "There is no blessed model yet" in text
    assert 'id="changes"' not in text


def test_nothing_judged_says_so_in_words(root):
    text = (root / "nothing" / "report.html").read_text(encoding="utf-8")
    assert "Nobody has answered for any product of the judged split" in text
    assert "nan" not in text.lower().replace("finance", "")
    assert "None" not in re.sub(r'<p class="soft">None\.</p>', "", text)


def test_texts_out_of_feeds_are_escaped(root):
    text = (root / "second" / "report.html").read_text(encoding="utf-8")
    assert "<img" not in text
    assert "&lt;script&gt;" in text


def test_products_without_a_title_are_examples_a_reader_can_tell_apart(root, tmp_path):
    products = [{**product, "brand": f"Acme {number}"} for number, product in enumerate(judged_products(TREE, 80, answered=1.0))]
    for product in products[::2]:
        del product["title"]
    write_examples(tmp_path, products)
    metrics = evaluate(tmp_path / "Split-test", root / "model", root / "old", TREE, 32) | {"blessed": True, "reasons": []}
    assert metrics["by_missing_field"]["title"]["missing"]["judged"] == 40
    shown = [product["title"] for found in metrics["examples"]["worst_nodes"].values() for product in found]
    titleless = {title for title in shown if title.startswith("(no title) Acme ")}
    assert len(titleless) > 1
    page = render_report(metrics)
    assert all(title in page for title in titleless)


def test_the_report_needs_neither_rules_nor_quarantine(root):
    metrics = read_optional_json(root / "first" / "metrics.json")
    page = render_report(metrics, tfma_page="")
    assert "tfma.html" not in page
    assert 'id="refused"' not in page


def test_a_broken_file_is_named(tmp_path):
    assert read_optional_json(tmp_path / "gone.json") is None
    (tmp_path / "broken.json").write_text('{"a":\n oops}')
    with pytest.raises(EvaluationError, match=r"broken\.json:2: this isn't JSON"):
        read_optional_json(tmp_path / "broken.json")
    (tmp_path / "broken.json").write_text("[]")
    with pytest.raises(EvaluationError, match="found a list, expected a JSON object"):
        read_optional_json(tmp_path / "broken.json")


def shown(page: Path, profile: Path) -> tuple[str, str]:
    """Returns the page as a real browser leaves it, and the browser's console."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    switches = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"
    )
    switches += " --disable-sync --enable-logging=stderr --v=0 --virtual-time-budget=10000 --dump-dom"
    command = [browser, *switches.split(), f"--user-data-dir={profile}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@pytest.mark.slow
def test_a_browser_shows_the_report_and_runs_no_text_of_a_feed(root, tmp_path):
    dom, console = shown(root / "second" / "report.html", tmp_path)
    assert console == ""
    assert "<title>How good is this model?</title>" in dom
    assert "What changed since the blessed model" in dom


@pytest.mark.slow
@pytest.mark.parametrize("name", ["second", "nothing"])
def test_a_browser_draws_tfmas_viewer_without_the_network(root, tmp_path, name):
    page = tmp_path / "probe.html"
    # The viewer draws into shadow trees, which --dump-dom leaves out: copy what they show into the page.
    probe = """<script>setTimeout(function () {
      function all(root) { var t = ''; root.querySelectorAll('*').forEach(function (e) {
        if (e.tagName === 'TD') { t += e.textContent + '|'; } if (e.shadowRoot) { t += all(e.shadowRoot); } }); return t; }
      var out = document.createElement('pre'); out.id = 'seen'; out.textContent = all(document); document.body.append(out);
    }, 5000)</script></body>"""
    page.write_text((root / name / "tfma.html").read_text(encoding="utf-8").replace("</body>", probe), encoding="utf-8")
    dom, console = shown(page, tmp_path / "profile")
    assert console == ""
    assert "<title>TensorFlow Model Analysis</title>" in dom
    seen = html.unescape(re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL).group(1))
    assert "Overall|" in seen
    if name == "second":
        metrics = read_optional_json(root / name / "metrics.json")
        assert f"{metrics['exclusive']['accuracy']:.5f}|" in seen
        assert "category_depth:2|" in seen
