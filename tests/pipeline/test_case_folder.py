"""Proves how a catalogue folder in the case format becomes settings and label events."""

from __future__ import annotations

import pytest

from pipeline.case_folder import case_events, with_case_folder, write_case_events
from schemas.errors import CatalogueError
from schemas.label_event import read_label_events
from schemas.settings_loader import load_settings

GOLD = "product_id\tnode_id\tsplit\n" + "".join(f"p{n:02d}\tn{n % 3}\t{'test' if n % 4 == 0 else 'dev'}\n" for n in range(40))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "feed.csv").write_text("id,title\np1,Shoe\n")
    (tmp_path / "taxonomy.tsv").write_text("id\tparent_id\tname\texclusive\nn0\t\tShoes\t1\n")
    (tmp_path / "gold.tsv").write_text(GOLD)
    return tmp_path


def settings_of(folder, *overrides):
    return load_settings(None, [f"catalogue.folder={folder}", *overrides], prefix=str(folder / "var"))


def test_a_folder_stands_for_network_taxonomy_rules_and_split(folder):
    (folder / "rules.tsv").write_text("rule_id\tnode_id\tfield\tphrase\n")
    settings = with_case_folder(settings_of(folder))
    assert settings.networks["case"].format == "csv"
    assert settings.networks["case"].feeds == (str(folder / "feed.csv"),)
    assert settings.taxonomy.path == str(folder / "taxonomy.tsv")
    assert settings.rules.path == str(folder / "rules.tsv")
    assert settings.ingest.split == str(folder / "gold.tsv")


def test_rules_and_gold_may_be_missing(folder):
    (folder / "gold.tsv").unlink()
    settings = with_case_folder(settings_of(folder))
    assert settings.rules.path == "" and settings.ingest.split == ""
    assert case_events(settings) == []
    assert write_case_events(settings, folder / "events.jsonl") == 0
    assert not (folder / "events.jsonl").exists()


def test_all_answers_are_events_unless_fewer_are_asked_for(folder):
    assert len(case_events(settings_of(folder))) == 40
    events = case_events(settings_of(folder, "catalogue.answers=7"))
    assert len(events) == 7 + 10
    assert events == case_events(settings_of(folder, "catalogue.answers=7"))
    assert events != case_events(settings_of(folder, "catalogue.answers=7", "run.seed=1"))
    assert len(case_events(settings_of(folder, "catalogue.answers=99"))) == 40


def test_an_answer_keeps_its_id_whoever_else_is_drawn(folder):
    every = {event.product_id: event.event_id for event in case_events(settings_of(folder))}
    assert all(every[event.product_id] == event.event_id for event in case_events(settings_of(folder, "catalogue.answers=5")))


def test_what_is_written_is_what_is_read(folder):
    settings = settings_of(folder)
    assert write_case_events(settings, folder / "inputs" / "events.jsonl") == 40
    assert list(read_label_events(folder / "inputs" / "events.jsonl")) == case_events(settings)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"product_id\tnode_id\n", "gold.tsv:1: column 'split' is missing. Expected product_id, node_id, split."),
        (b"product_id\tnode_id\tsplit\np\tn\ttrain\n", "gold.tsv:2: expected a product, a node and the split dev or test, found"),
        (b"product_id\tnode_id\tsplit\np\tn\n", "gold.tsv:2: expected"),
        (b"product_id\tnode_id\tsplit\n\xe4\tn\tdev\n", "gold.tsv: byte 25 isn't UTF-8. Save the file as UTF-8."),
        (b"product_id\tnode_id\tsplit\n" + b"x" * 200_000, "gold.tsv: this can't be read: field larger than field limit"),
    ],
)
def test_gold_that_cannot_be_read_is_named_with_its_row(folder, content, message):
    (folder / "gold.tsv").write_bytes(content)
    with pytest.raises(CatalogueError) as error:
        case_events(settings_of(folder))
    assert message in str(error.value)


def test_a_byte_order_mark_is_no_part_of_the_first_column(folder):
    (folder / "gold.tsv").write_bytes(b"\xef\xbb\xbf" + GOLD.encode())
    assert len(case_events(settings_of(folder))) == 40


def test_a_folder_that_lacks_something_is_named(folder):
    (folder / "taxonomy.tsv").unlink()
    with pytest.raises(CatalogueError, match=r"taxonomy\.tsv is missing"):
        with_case_folder(settings_of(folder))
    (folder / "feed.csv").unlink()
    with pytest.raises(CatalogueError, match="there is no feed. Expected one of feed.jsonl.gz"):
        with_case_folder(settings_of(folder))


def test_a_root_that_cannot_be_written_is_named(folder):
    with pytest.raises(CatalogueError, match="can't be written: .* Set run.root to a folder you may write to"):
        write_case_events(settings_of(folder), folder / "feed.csv" / "inputs" / "events.jsonl")
