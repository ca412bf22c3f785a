"""Writes the configuration a run of the demo catalogue needs, as a person would: short, with comments."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.demo.feeds import NETWORKS
from schemas.settings import NetworkSettings

_HEAD = """\
# Settings of the demo catalogue. Paths are relative to this file. See what is in force: aisle check --config {path}
run:
  name: {name}

# One mapping a network says which column is which field; nothing is said about single shops.
networks:
"""
_TAIL = """
taxonomy:
  path: taxonomy.tsv

rules:
  path: rules.tsv

# Answers read beside the store: 300 about dev products, one about every test product, so that the first run can be judged.
# They fit run.seed 0 and ingest.test_share 0.1, which choose the test products.
labels:
  events: [label_events.jsonl]
"""


def configuration_text(name: str) -> str:
    """Returns the text of aisle.yaml, whose runs have this name."""
    networks = "\n".join(_network_text(name, network) for name, network in NETWORKS.items())
    return _HEAD.format(path="aisle.yaml", name=name) + networks + _TAIL


def _network_text(name: str, network: NetworkSettings) -> str:
    plain = NetworkSettings()
    lines = [f"  {name}:", f"    format: {network.format}", f"    feeds: [{', '.join(network.feeds)}]"]
    for key in ("encoding", "delimiter", "category_separator", "decimal_comma"):
        value = getattr(network, key)
        if value != getattr(plain, key):
            lines.append(f"    {key}: {str(value).lower() if isinstance(value, bool) else _quoted(value)}")
    return "\n".join([*lines, "    columns:", *_mapping_lines(network.columns)]) + "\n"


def _mapping_lines(columns: Mapping[str, str]) -> list[str]:
    return [f"      {field}: {_quoted(column) if ':' in column else column}" for field, column in columns.items()]


def _quoted(text: str) -> str:
    return f'"{text}"' if not text.replace("-", "").isalnum() else text
