"""Proves what folding and splitting lines promise."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.text import fold, split_lines


@given(st.text())
def test_folding_twice_is_folding_once(text):
    assert fold(fold(text)) == fold(text)


@given(st.text())
def test_a_folded_text_is_words_with_one_space_between_them(text):
    folded = fold(text)
    assert folded == " ".join(folded.split(" ")) == folded.strip()
    assert "_" not in folded


@given(st.text())
def test_case_never_decides_whether_two_ascii_texts_agree(text):
    assert fold(text.encode("ascii", "ignore").decode().upper()) == fold(text.encode("ascii", "ignore").decode().lower())


def test_composed_and_decomposed_accents_fold_alike():
    assert fold("Caf\u00e9") == fold("Cafe\u0301") == fold("CAFE") == "cafe"


def test_only_a_line_end_ends_a_line():
    assert split_lines("a\u0085b\x0cc\nd\r\ne\rf") == ["a\u0085b\x0cc", "d", "e", "f"]
    assert split_lines("") == []
    assert split_lines("a\n\nb\n") == ["a", "", "b"]


def test_letters_of_other_alphabets_fold_to_the_plain_ones():
    assert fold("\U0001d468\U0001d469") == "ab"  # mathematical bold capitals, which have no small letters of their own
