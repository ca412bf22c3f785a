"""Writes the page that says what is in a demo catalogue and how hard it is."""

from __future__ import annotations

from pipeline.demo.summary import CatalogueSummary

_TEXT = """\
# A demo catalogue

Made by `aisle demo-catalogue` from seed {seed}, without a network; the same seed gives the same files. Every shop, brand and
text is invented.

| file | what it is |
|---|---|
| `aisle.yaml` | the settings a run needs, ready to edit |
| `feeds/` | {rows:,} rows of {shops} shops in 3 networks: CSV (`;`, Latin-1), Google Shopping XML, JSON lines; a few files are gz |
| `images/` | {pictures:,} drawn pictures; outline and marks carry the category, the fill carries the colour; some are missing or cut |
| `taxonomy.tsv` | {nodes} nodes to depth {depth}, {answer_nodes} of them may be an answer, inner ones among them |
| `rules.tsv` | {rules} keyword rules of the shop's analysts, some of them bad |
| `label_events.jsonl` | {events:,} answers: 300 about random dev products, one about every test product |
| `truth.tsv` | the right node of each of the {products:,} usable products, for the simulated labeller only |

    aisle run --config aisle.yaml
    aisle batch show BATCH
    aisle batch answer BATCH --truth truth.tsv --out answers.jsonl
    aisle labels import answers.jsonl --config aisle.yaml
    aisle run --config aisle.yaml

## What is wrong with it, on purpose

{broken} rows are broken (wrong number of fields, no id, nothing that describes the product, cut lines, bytes that don't decode)
and {twice} ids are sent twice, the later row being right. {titleless} of the usable products have no title, a quarter of one shop's
and a few of most others': their brand, category, description or picture is all there is to go by. An article is offered by 2 to 3
shops on average, in slightly different words. Shops have habits: brand missing from or doubled in titles, CAPITALS, brand and title
swapped, no category or a wrong one (10 %), department numbers for categories, colours in sizes, HTML entities and tags, cut titles,
placeholder texts, German and Swedish words.

## How hard it is

Most titles don't say what a thing is: brands and model lines do, to whoever has learnt them. TF-IDF and a linear SVM on title, brand,
merchant category and description, answers drawn at random, judged on the test split, 6,000 products, seeds 0 to 4:

| answers | 100 | 300 | 1,000 | all |
|---|---|---|---|---|
| accuracy | {hardness} |

The rules put {coverage} of the products somewhere, and {precision} of their placements are right.
"""
# Answers to the lowest and highest accuracy of seeds 0 to 4, 5 draws each; 0 stands for all dev products. The rules' figures are shares
# of the same seeds. tests/pipeline/test_demo_catalogue.py fails when they are no longer true.
HARDNESS = {100: (0.40, 0.47), 300: (0.57, 0.60), 1000: (0.73, 0.77), 0: (0.88, 0.90)}
RULE_COVERAGE, RULE_PRECISION = (0.52, 0.58), (0.72, 0.79)


def readme_text(summary: CatalogueSummary, seed: int) -> str:
    """Returns the text of README.md."""
    figures = {name: getattr(summary, name) for name in summary.__dataclass_fields__}
    hardness = " | ".join(f"{low:.2f}-{high:.2f}" for low, high in HARDNESS.values())
    return _TEXT.format(seed=seed, hardness=hardness, coverage=_percent(*RULE_COVERAGE), precision=_percent(*RULE_PRECISION), **figures)


def _percent(low: float, high: float) -> str:
    return f"{low * 100:.0f}-{high * 100:.0f} %"
