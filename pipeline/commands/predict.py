"""Puts the products of a feed into categories with the live model, and says which rules fired: the verb `aisle predict`."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from components.feeds.contract import RefusedRow
from components.feeds.files import find_feeds
from components.feeds.products import read_batches
from components.pair_pushing import Live
from components.rule_matching import RuleMatcher
from pipeline.commands.options import add_settings, positive, refuse_overwriting, settings_of, write_note
from pipeline.encoder_inputs import fed_vectors, images_folder
from pipeline.inputs import live_pair, read_features, read_rules, read_taxonomy, resolved
from schemas.cleaning import Product
from schemas.errors import CatalogueError, ModelError, SettingsError
from schemas.product import FIELDS, ID
from schemas.settings import NetworkSettings, Settings

EPILOG = """examples:
  aisle predict new.csv --config demo/aisle.yaml --network alpha --out placed.jsonl
  aisle predict feed.jsonl.gz --config configs/case.yaml --set catalogue.folder=CATALOGUE --format tsv --top 1 | head

FEED is read as the network's mapping says and cleaned as a run cleans it. Every usable row is one line, in the order of the
file: id, node, its path and probability, what needs no person (decision: accept, climb to an ancestor, or ask; accepted_node;
confidence), the best --top nodes, the rules that fired with the node each names, and the version of the live model. A veto fires,
too; a rule that one took away is marked vetoed. Refused rows are counted on standard error."""
FORMATS = ("jsonl", "tsv")
_COLUMNS = ("id", "node_id", "path", "probability", "decision", "accepted_node", "confidence", "rules", "top", "version")
_PROGRESS_S = 2.0
_BY_SUFFIX = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".xml": "google_xml", ".parquet": "parquet"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("feed", metavar="FEED", help="a feed file; .gz is unpacked")
    add_settings(parser)
    parser.add_argument("--network", metavar="NAME", help="whose mapping the feed follows; default: the only one, or the one that has FEED")
    parser.add_argument("--out", metavar="FILE", default="-", help="where to; - (the default) for standard output")
    parser.add_argument("--top", type=positive, default=3, metavar="N", help="nodes named for each product (default 3)")
    parser.add_argument("--format", choices=FORMATS, default="jsonl", help="jsonl (the default) or tsv")
    parser.add_argument("--quarantine", metavar="FILE", help="where refused rows go, as JSON lines")


def run(args: argparse.Namespace) -> int:
    """Predicts every product of the feed and returns the exit code.

    Raises:
        AisleError: wrong settings, nothing is live, or the feed or a rule can't be used.
    """
    refuse_overwriting({"--out": args.out, "--quarantine": args.quarantine}, {"FEED": args.feed, "--config": args.config})
    settings = resolved(settings_of(args))
    network, mapping = feed_mapping(settings, args.feed, args.network)
    feed = find_feeds([args.feed], Path.cwd(), "FEED")[0]
    matcher = read_rules(settings, read_taxonomy(settings)) if settings.rules.path else None
    live = _live(settings)
    dense = fed_vectors(read_features(settings), [encoder.name for encoder in settings.encoders])
    counts = _Counts()
    with _output(args.out) as out, _quarantine(args.quarantine) as refuse:
        # TensorFlow takes seconds to load, so all that can be wrong without it comes before.
        write_note("loading the live model ...")
        model = importlib.import_module("pipeline.live_model").LiveModel(live.model, images_folder(settings))
        format_row = _Formatter(matcher, model.paths, live.version, args.top, args.format)
        if args.format == "tsv":
            out.write("\t".join(_COLUMNS) + "\n")
        for batch in read_batches(network, mapping, feed, settings.scoring.block_products, dense):
            refuse(batch.refused)
            if batch.products:
                predictions = model.predict(batch.products)
                out.writelines(format_row(*row) + "\n" for row in zip(batch.products, predictions, strict=True))
            counts.add(len(batch.products), len(batch.refused), len(batch.blanked))
    counts.say_all(live)
    if not counts.products:
        raise CatalogueError(f"{feed}: no row could be used. Its mapping is networks.{network}; --quarantine FILE says what is wrong.")
    return 0


def feed_mapping(settings: Settings, feed: str, name: str | None) -> tuple[str, NetworkSettings]:
    """Returns the network whose mapping a feed follows, and the mapping.

    Without networks in the settings, the format is told by the file's name, and columns are named like the fields.

    Raises:
        SettingsError: no such network, or it can't be told which.
    """
    networks = settings.networks
    if name is not None:
        if name not in networks:
            raise SettingsError(f"--network {name!r} isn't in the settings. Known: {', '.join(networks) or 'none; set networks'}.")
        return name, networks[name]
    if len(networks) == 1:
        return next(iter(networks.items()))
    if not networks:
        return "feed", NetworkSettings(format=_format_of(feed))
    owners = [owner for owner, network in networks.items() if _owns(network, feed)]
    if len(owners) != 1:
        raise SettingsError(f"{feed}: it can't be told whose mapping it follows. Pass --network with one of {', '.join(networks)}.")
    return owners[0], networks[owners[0]]


def _owns(network: NetworkSettings, feed: str) -> bool:
    wanted = Path(feed).absolute()
    found = (path for pattern in network.feeds if "://" not in pattern for path in Path("/").glob(pattern.lstrip("/")))
    return any(path.exists() and wanted.exists() and path.samefile(wanted) for path in found)


def _format_of(feed: str) -> str:
    suffixes = [suffix for suffix in Path(feed).suffixes if suffix in _BY_SUFFIX]
    if not suffixes:
        raise SettingsError(f"{feed}: its name doesn't tell the format. Name it *{', *'.join(_BY_SUFFIX)}, or set networks.")
    return _BY_SUFFIX[suffixes[-1]]


def _live(settings: Settings) -> Live:
    live = live_pair(settings)
    if live is None:
        raise ModelError(f"{settings.push.folder}: no model is live here. Run until one is blessed: aisle run.")
    return live


@dataclass(frozen=True)
class _Formatter:
    """Makes a line of a product and its prediction."""

    matcher: RuleMatcher | None
    paths: Mapping[str, str]
    version: int
    top: int
    format: str

    def __call__(self, product: Product, prediction: Any) -> str:
        top = [
            {"node_id": node, "path": self.paths.get(node, node), "probability": round(probability, 6)}
            for node, probability in list(zip(prediction.nodes, prediction.probabilities, strict=True))[: self.top]
        ]
        accepted = {
            "decision": prediction.decision,
            "accepted_node": prediction.accepted_node,
            "confidence": round(prediction.confidence, 6),
        }
        row = {"id": product[ID], **top[0], **accepted, "top": top, "rules": self._rules(product), "version": self.version}
        return json.dumps(row, ensure_ascii=False) if self.format == "jsonl" else _tsv(row)

    def _rules(self, product: Product) -> list[dict[str, Any]]:
        if self.matcher is None:
            return []
        texts = {name: str(product[name]) for name in FIELDS if name in product}
        fired = self.matcher.fired(texts)
        standing = set(self.matcher.standing(fired))
        return [self._rule(number, number in standing) for number in fired]

    def _rule(self, number: int, stands: bool) -> dict[str, Any]:
        rule = self.matcher.rules[number]  # type: ignore[union-attr]
        found: dict[str, Any] = {"rule_id": rule.rule_id, "node_id": rule.node_id}
        if rule.veto:
            found["veto"] = True
        elif not stands:
            found["vetoed"] = True
        return found


def _tsv(row: Mapping[str, Any]) -> str:
    marks = [f"{rule['rule_id']}={'!' if rule.get('veto') or rule.get('vetoed') else ''}{rule['node_id']}" for rule in row["rules"]]
    top = [f"{node['node_id']}={node['probability']}" for node in row["top"]]
    cells = {**row, "rules": " ".join(marks), "top": " ".join(top)}
    return "\t".join(str(cells[name]).replace("\t", " ").replace("\n", " ") for name in _COLUMNS)


@contextlib.contextmanager
def _output(path: str) -> Iterator[TextIO]:
    """Opens where results go; a file appears only when it is complete."""
    if path == "-":
        yield sys.stdout
        return
    target = Path(path)
    part = target.with_name(target.name + ".part")
    try:
        with part.open("w", encoding="utf-8") as file:
            yield file
        part.replace(target)
    except BrokenPipeError:  # Standard output's, not this file's.
        raise
    except OSError as error:
        raise CatalogueError(f"{target}: can't be written: {error.strerror}. Name a file in a folder you may write to.") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def _quarantine(path: str | None) -> Iterator[Callable[[Sequence[RefusedRow]], None]]:
    if path is None:
        yield lambda rows: None
        return
    with _output(path) as file:
        yield lambda rows: file.writelines(json.dumps(row._asdict(), ensure_ascii=False) + "\n" for row in rows)


@dataclass
class _Counts:
    """Counts rows and says now and then how far it is."""

    products: int = 0
    refused: int = 0
    left_out: int = 0
    started_s: float = field(default_factory=time.monotonic)
    said_s: float = field(default_factory=time.monotonic)

    def add(self, products: int, refused: int, left_out: int) -> None:
        self.products, self.refused, self.left_out = self.products + products, self.refused + refused, self.left_out + left_out
        now_s = time.monotonic()
        if now_s - self.said_s > _PROGRESS_S:
            self.said_s = now_s
            write_note(f"{self.products:,} products, {self.products / (now_s - self.started_s):,.0f} a second")

    def say_all(self, live: Live) -> None:
        seconds = time.monotonic() - self.started_s
        write_note(
            f"{self.products:,} products by version {live.version} of {live.name} in {seconds:.1f} s; "
            f"{self.refused:,} rows refused, {self.left_out:,} values left out"
        )
