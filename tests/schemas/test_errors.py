"""What an error says is one line that a terminal shows, and no longer than it may be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import AisleError, one_line


@pytest.mark.parametrize("text", ["a" * 10_000, "\n" * 10_000, "\u202e" * 10_000, "\U000e0001" * 10_000, "\ud800" * 10_000])
@pytest.mark.parametrize("max_length", [10, 11, 200, 4_000])
def test_what_is_too_long_is_exactly_as_long_as_it_may_be_and_loses_its_middle(text, max_length):
    found = one_line(text, max_length)
    assert len(found) == max_length
    assert found.isprintable()
    assert found.count(" ... ") == 1


def test_a_text_that_only_its_escapes_make_too_long_is_cut():
    assert one_line("\n" * 100, 200) == "\\n" * 100
    assert len(one_line("\n" * 101, 200)) == len(one_line("\n" * 200, 200)) == 200


def test_half_a_letter_is_written_as_an_escape():
    assert one_line("a\ud800b") == "a\\ud800b"
    assert str(AisleError("a\ud800b\n")).encode() == b"a\\ud800b\\n"


@given(text=st.text(st.characters(), max_size=300), max_length=st.integers(10, 300))
def test_any_text_is_one_line_within_the_limit(text, max_length):
    found = one_line(text, max_length)
    assert len(found) <= max_length
    assert found.isprintable()
    assert found == text or len(text) > max_length or not text.isprintable()
