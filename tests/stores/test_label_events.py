"""Holds every store of label events to its contract, and the SQLite one to its file."""

import dataclasses
import multiprocessing
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import LabelError, StoreError
from schemas.label_event import LabelEvent, events_sha256, standing_events
from stores.sqlite_label_events import SqliteLabelEventStore

# Every implementation of LabelEventStore: its name, and how to open one in a folder.
STORES = {"sqlite": lambda folder: SqliteLabelEventStore(folder / "labels.sqlite")}


@pytest.fixture(params=STORES)
def open_store(request, tmp_path):
    opened = []

    def open_it():
        opened.append(STORES[request.param](tmp_path))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()


def answer(number, product="p", node="s", at=None):
    return LabelEvent(f"e{number}", number if at is None else at, "ann", product, "is", node, shown={"batch": "b1"})


def retraction(number, of, product="p"):
    return LabelEvent(f"e{number}", number, "ann", product, "retract", retracts=f"e{of}")


def test_what_was_appended_is_read_in_order_by_the_next_one_to_open(open_store):
    events = [answer(2), answer(1), answer(3, "q")]
    assert open_store().append(events) == (3, 0)
    again = open_store()
    assert list(again.events()) == events
    assert again.count() == 3
    assert again.sha256() == events_sha256(events)
    assert again.get("e1") == events[1]
    assert again.get("nobody") is None
    assert again.events_of("p") == events[:2]


def test_an_import_can_be_repeated(open_store):
    store = open_store()
    assert store.append([answer(1), answer(2), answer(1)]) == (2, 1)
    assert store.append([answer(1), answer(2), answer(3)]) == (1, 2)
    assert store.count() == 3


def of_group(number, product, question="q1"):
    return LabelEvent(f"{question}.{number}", 1, "ann", product, "is", "s", source="group", question=question)


def test_the_events_of_a_question_are_found_with_their_retractions(open_store):
    store = open_store()
    members = [of_group(number, product) for number, product in enumerate("abc")]
    back = LabelEvent("r", 2, "bob", "a", "retract", retracts="q1.0", source="group", question="q1")
    store.append([answer(1, "a"), *members, of_group(0, "a", "q2"), back])
    assert store.events_of_question("q1") == [*members, back]
    assert store.events_of_question("nobody asked") == store.events_of_question("") == []
    assert open_store().events_of("a") == [answer(1, "a"), members[0], of_group(0, "a", "q2"), back]


def test_since_gives_only_what_is_new(open_store):
    store = open_store()
    store.append([answer(1), answer(2)])
    seen = store.count()
    store.append([answer(3)])
    assert [event.event_id for event in store.events(since=seen)] == ["e3"]
    assert list(store.events(since=store.count())) == []


def test_an_id_with_other_content_is_refused_and_nothing_of_the_append_stays(open_store):
    store = open_store()
    store.append([answer(1)])
    with pytest.raises(LabelError, match="event 'e1' is there already and says something else: .*Events are never changed"):
        store.append([answer(2), answer(1, node="b")])
    assert [event.event_id for event in store.events()] == ["e1"]


def test_a_retraction_restores_the_answer_before(open_store):
    store = open_store()
    store.append([answer(1, node="s"), answer(2, node="b")])
    store.append([retraction(3, of=2)])
    assert standing_events(store.events())["p"].node_id == "s"


def test_a_retraction_may_come_with_its_answer_in_any_order(open_store):
    assert open_store().append([retraction(2, of=1), answer(1)]) == (2, 0)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (retraction(9, of=7), "retracts 'e7', which isn't in the store. Import the answer first, or check the id."),
        (retraction(9, of=2), "retracts 'e2', which is a retraction itself. To restore an answer, give it again."),
        (retraction(9, of=1, product="q"), "is about product 'q' but retracts 'e1', an answer about 'p'."),
    ],
)
def test_a_retraction_of_no_answer_is_refused(open_store, event, message):
    store = open_store()
    store.append([answer(1), retraction(2, of=1)])
    with pytest.raises(LabelError) as refused:
        store.append([event])
    assert message in str(refused.value)
    assert store.count() == 2


def test_events_that_are_appended_while_reading_do_not_disturb_the_reader(open_store):
    store, writer = open_store(), open_store()
    store.append([answer(1), answer(2)])
    reading = store.events()
    first = next(reading)
    writer.append([answer(3)])
    assert [first.event_id, *(event.event_id for event in reading)] == ["e1", "e2"]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(1, 30).map(answer), max_size=6), max_size=5))
def test_however_an_import_is_cut_the_store_holds_each_event_once(tmp_path_factory, parts):
    with SqliteLabelEventStore(tmp_path_factory.mktemp("store") / "labels.sqlite") as store:
        for part in parts:
            store.append(part)
        given_ids = [event.event_id for part in parts for event in part]
        assert [event.event_id for event in store.events()] == list(dict.fromkeys(given_ids))


def _append_many(path, worker):
    with SqliteLabelEventStore(path) as store:
        for i in range(20):
            store.append([answer(f"{worker}-{i}", at=i)])


def test_several_processes_append_and_nothing_acknowledged_is_lost(tmp_path):
    path = tmp_path / "labels.sqlite"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append_many, args=(path, worker)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    with SqliteLabelEventStore(path, read_only=True) as store:
        assert store.count() == 60


@pytest.fixture
def sqlite_file(tmp_path):
    path = tmp_path / "labels.sqlite"
    with SqliteLabelEventStore(path) as store:
        store.append([answer(1), answer(2)])
    return path


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE label_events SET event = '{}'",
        "DELETE FROM label_events WHERE event_id = 'e1'",
        "INSERT OR REPLACE INTO label_events VALUES (9, 'e1', 'p', 'is', 1, '{}', '')",
        "INSERT OR REPLACE INTO label_events VALUES (1, 'e9', 'p', 'is', 1, '{}', '')",
    ],
)
def test_the_file_itself_refuses_to_change_or_remove_an_event(sqlite_file, statement):
    database = sqlite3.connect(sqlite_file)
    with pytest.raises(sqlite3.IntegrityError, match="label events are append-only"):
        database.execute(statement)
    database.close()


def test_a_store_writes_through_to_the_disk_before_it_answers(sqlite_file):
    with SqliteLabelEventStore(sqlite_file) as store:
        assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_reader_makes_no_store(tmp_path):
    with pytest.raises(StoreError, match="there is no store of label events. Import some first"):
        SqliteLabelEventStore(tmp_path / "none.sqlite", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_cannot_write(sqlite_file):
    with SqliteLabelEventStore(sqlite_file, read_only=True) as store, pytest.raises(StoreError, match="can't be written: .*readonly"):
        store.append([answer(3)])


def test_a_locked_store_says_who_to_wait_for(sqlite_file):
    other = sqlite3.connect(sqlite_file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked. Another program is writing to it; try again when it is done."):
        SqliteLabelEventStore(sqlite_file, busy_timeout_ms=50).append([answer(3)])
    other.close()


@pytest.mark.parametrize("content", [b"not a database at all, but text" * 10, b"SQLite format 3\x00" + b"\xff" * 200])
def test_a_file_that_is_no_database_is_refused(tmp_path, content):
    (tmp_path / "labels.sqlite").write_bytes(content)
    with pytest.raises(StoreError, match="labels.sqlite: the store of label events can't be opened: .*Restore it from a backup"):
        SqliteLabelEventStore(tmp_path / "labels.sqlite")
    assert (tmp_path / "labels.sqlite").read_bytes() == content


def test_another_programs_database_is_refused_and_left_alone(tmp_path):
    database = sqlite3.connect(tmp_path / "other.sqlite")
    database.execute("CREATE TABLE theirs (a)")
    database.commit()
    database.close()
    before = (tmp_path / "other.sqlite").read_bytes()
    with pytest.raises(StoreError, match="this SQLite file isn't a store of label events"):
        SqliteLabelEventStore(tmp_path / "other.sqlite")
    assert (tmp_path / "other.sqlite").read_bytes() == before


def test_a_later_format_is_refused_with_both_versions(sqlite_file):
    database = sqlite3.connect(sqlite_file)
    database.execute("PRAGMA user_version = 7")
    database.close()
    with pytest.raises(
        StoreError, match="found format version 7, this release reads 1 to 2. Use the release that wrote it, or a later one."
    ):
        SqliteLabelEventStore(sqlite_file)


def test_a_folder_is_no_store(tmp_path):
    with pytest.raises(StoreError, match="can't be opened: unable to open database file"):
        SqliteLabelEventStore(tmp_path)


def format_1(folder):
    """Writes a store as releases before questions about groups did, with two events."""
    database = sqlite3.connect(folder / "labels.sqlite")
    database.executescript(
        """
        CREATE TABLE label_events (
            position INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, product_id TEXT NOT NULL, kind TEXT NOT NULL,
            answered_at_ms INTEGER NOT NULL, event TEXT NOT NULL
        );
        CREATE INDEX label_events_by_product ON label_events (product_id);
        CREATE TRIGGER label_events_no_update BEFORE UPDATE ON label_events BEGIN SELECT RAISE(ABORT, 'append-only'); END;
        PRAGMA application_id = 1634300748; PRAGMA user_version = 1; PRAGMA journal_mode = WAL;
        """
    )
    events = [answer(1), answer(2, "q")]
    rows = [(event.event_id, event.product_id, event.kind, event.answered_at_ms, event.to_json()) for event in events]
    database.executemany("INSERT INTO label_events (event_id, product_id, kind, answered_at_ms, event) VALUES (?, ?, ?, ?, ?)", rows)
    database.commit()
    database.close()
    return folder / "labels.sqlite", events


def test_a_store_of_an_earlier_format_is_read_as_it_is_and_written_after_it_was_brought_up(tmp_path):
    path, events = format_1(tmp_path)
    with SqliteLabelEventStore(path, read_only=True) as store:
        assert list(store.events()) == events
        assert store.events_of_question("q1") == []
    with SqliteLabelEventStore(path) as store:
        store.append([of_group(0, "a")])
        assert list(store.events()) == [*events, of_group(0, "a")]
    with SqliteLabelEventStore(path) as store:
        assert store.events_of_question("q1") == [of_group(0, "a")]
        assert store.sha256() == events_sha256([*events, of_group(0, "a")])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"labeller": ""}, "event 'e9': labeller '' must be a text that isn't empty."),
        ({"labeller": "x" * 2000}, "event 'e9': labeller 'xxx"),
        ({"labeller": "\udcff"}, "event 'e9': a text holds half a character"),
        ({"shown": {"a": [float("inf")]}}, "event 'e9': this isn't a JSON object"),
        ({"shown": {"a": [1e15] * 90_000}}, "event 'e9': written out, the event has 1,8"),
    ],
)
def test_an_event_that_could_not_be_read_again_is_refused_before_anything_is_written(open_store, parts, message):
    store = open_store()
    store.append([answer(1)])
    with pytest.raises(LabelError) as refused:
        store.append([answer(2), dataclasses.replace(answer(9), **parts)])
    assert str(refused.value).startswith(message)
    assert [event.event_id for event in store.events()] == ["e1"]


def damage(path, *statements):
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()


def insert(event, kind="TEXT"):
    return f"INSERT INTO label_events VALUES (7, 'e7', 'p7', 'is', 1, CAST({event} AS {kind}), 'q7')"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (insert("'{}'"), "event_id None must be a text that isn't empty."),
        (insert("'cut'"), "this isn't a JSON object: 'cut'."),
        (insert("''"), "this isn't a JSON object: ''."),
        (insert("x'ff'", "BLOB"), "found bytes, expected text in UTF-8."),
        (insert("x'7bff7d'"), "found bytes, expected text in UTF-8."),
    ],
)
def test_a_row_that_holds_no_event_is_named_by_its_position(sqlite_file, statement, message):
    damage(sqlite_file, statement)
    with SqliteLabelEventStore(sqlite_file, read_only=True) as store:
        for read in (
            lambda: list(store.events()),
            lambda: store.get("e7"),
            lambda: store.events_of("p7"),
            lambda: store.events_of_question("q7"),
        ):
            with pytest.raises(StoreError) as refused:
                read()
            expected = f"{sqlite_file}: the store is damaged at event 7: {message} Restore it from a backup or an export."
            assert str(refused.value) == expected


@pytest.mark.parametrize(
    "statements",
    [
        ["DROP TABLE label_events"],
        ["ALTER TABLE label_events RENAME COLUMN event TO other"],
        ["ALTER TABLE label_events RENAME COLUMN position TO other"],
        ["DROP TABLE label_events", "PRAGMA user_version = 1"],
        ["PRAGMA user_version = 1"],
    ],
)
def test_a_store_without_its_table_or_a_column_says_that_it_is_damaged(sqlite_file, statements):
    damage(sqlite_file, *statements)
    with pytest.raises(StoreError, match="The store is damaged. Restore it from a backup or an export."):
        SqliteLabelEventStore(sqlite_file).append([answer(3)])
    if statements != ["PRAGMA user_version = 1"]:
        with SqliteLabelEventStore(sqlite_file, read_only=True) as store, pytest.raises(StoreError, match="The store is damaged. Restore"):
            list(store.events())


def test_a_store_without_an_index_is_read_all_the_same(sqlite_file):
    damage(sqlite_file, "DROP INDEX label_events_by_product", "DROP INDEX label_events_by_question")
    with SqliteLabelEventStore(sqlite_file) as store:
        store.append([of_group(0, "a")])
        assert store.events_of("p") == [answer(1), answer(2)]
        assert store.events_of_question("q1") == [of_group(0, "a")]


def test_a_store_that_must_be_there_is_not_made(tmp_path):
    with pytest.raises(StoreError, match="there is no store of label events. Import some first"):
        SqliteLabelEventStore(tmp_path / "folder" / "none.sqlite", create=False)
    assert list(tmp_path.iterdir()) == []
