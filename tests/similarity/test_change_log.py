"""The log of changes: whole frames or none, a cut tail forgiven, damage noticed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import NeighbourIndexError
from similarity.change_log import create_log, read_log, write_history
from similarity.changes import Change, Delete, Move, Upsert, decoded, encoded, latest
from tests.similarity.catalogue import DIMENSION, upsert

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
CHANGES = st.lists(
    st.one_of(
        st.builds(Delete, TEXTS),
        st.builds(Move, TEXTS, TEXTS),
        st.builds(
            Upsert,
            TEXTS,
            TEXTS,
            st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=5).map(lambda numbers: np.array(numbers, np.float32)),
            st.dictionaries(st.sampled_from(["shop", "brand"]), TEXTS),
        ),
    ),
    max_size=6,
)


def same(left, right):
    return len(left) == len(right) and all(
        type(a) is type(b)
        and {**vars(a), "vector": 0} == {**vars(b), "vector": 0}
        and np.array_equal(*(getattr(x, "vector", 0) for x in (a, b)))
        for a, b in zip(left, right, strict=True)
    )


@settings(max_examples=50, deadline=None)
@given(CHANGES)
def test_what_is_written_is_read(changes):
    assert same(decoded(encoded(changes)), changes)


@settings(max_examples=50, deadline=None)
@given(CHANGES.map(encoded), st.integers(0, 10**6), st.integers(0, 255))
def test_bytes_that_are_no_changes_are_refused_and_never_run(data, at, byte):
    damaged = bytearray(data)
    if damaged:
        damaged[at % len(damaged)] = byte
    try:
        found = decoded(bytes(damaged))
    except (ValueError, KeyError, TypeError):
        return
    assert all(isinstance(change, Change) for change in found)


@pytest.fixture
def log(tmp_path):
    written = create_log(tmp_path / "changes-00000001.log", DIMENSION, 1)
    written.append([upsert("a", 1), Delete("b")])
    written.append([Move("a", "n2")])
    written.close()
    return tmp_path / "changes-00000001.log"


def names(changes):
    return [(sequence, change.product_id) for sequence, change in changes]


def test_a_tail_that_a_crash_cut_off_is_removed_wherever_it_was_cut(log):
    whole = log.read_bytes()
    first_frame = whole.index(b"\xa1FRM", 20)
    for end in range(first_frame, len(whole)):
        log.write_bytes(whole[:end])
        assert names(read_log(log, DIMENSION, may_be_cut=True)) == [(1, "a"), (2, "b")]
        assert len(log.read_bytes()) == first_frame
    for end in range(16):
        log.write_bytes(whole[:end])
        assert read_log(log, DIMENSION, may_be_cut=True) == []
        assert read_log(log, DIMENSION, may_be_cut=True) == []


def test_a_log_that_was_closed_may_not_be_cut(log):
    log.write_bytes(log.read_bytes()[:-1])
    with pytest.raises(NeighbourIndexError, match="damaged at byte"):
        read_log(log, DIMENSION, may_be_cut=False)


def test_damage_before_the_last_frame_is_refused_and_nothing_is_removed(log):
    whole = log.read_bytes()
    first_frame = whole.index(b"\xa1FRM", 20)
    for at in range(16, first_frame):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        log.write_bytes(damaged)
        with pytest.raises(NeighbourIndexError, match="with changes behind it. Restore it from a copy"):
            read_log(log, DIMENSION, may_be_cut=True)
        assert log.read_bytes() == damaged


def test_a_log_of_another_dimension_and_another_file_are_refused(log, tmp_path):
    with pytest.raises(NeighbourIndexError, match="the log has vectors of dimension 16, the index of 3"):
        read_log(log, 3, may_be_cut=True)
    (tmp_path / "other").write_bytes(b"x" * 100)
    with pytest.raises(NeighbourIndexError, match="isn't a log of changes"):
        read_log(tmp_path / "other", DIMENSION, may_be_cut=True)


def test_a_log_of_a_later_format_is_refused_and_left_as_it_is(log):
    later = log.read_bytes().replace(b"AISLELOG\x01", b"AISLELOG\x02", 1)
    log.write_bytes(later)
    with pytest.raises(NeighbourIndexError, match="the log has format 2, this release reads 1. Use the release that wrote it"):
        read_log(log, DIMENSION, may_be_cut=True)
    assert log.read_bytes() == later


def test_a_frame_with_a_right_checksum_and_wrong_content_is_refused(log, monkeypatch):
    monkeypatch.setattr("similarity.change_log.encoded", lambda changes: b"\x01\x00\x00\x00\x00\x00\x00\x00x")
    written = create_log(log, DIMENSION, 1)
    written.append([Delete("a")])
    written.close()
    with pytest.raises(NeighbourIndexError, match="a frame holds no changes"):
        read_log(log, DIMENSION, may_be_cut=True)


def test_a_history_keeps_the_numbers_of_its_changes(tmp_path):
    changes = [(1, upsert("a", 1)), (2, Delete("b")), (3, Move("a", "n2")), (4, Move("b", "n2"))]
    write_history(tmp_path / "history", DIMENSION, latest(changes).values())
    found = read_log(tmp_path / "history", DIMENSION, may_be_cut=False)
    assert names(found) == [(3, "a"), (2, "b")]
    assert (type(found[0][1]).__name__, found[0][1].node_id) == ("Upsert", "n2")
