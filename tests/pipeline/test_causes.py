"""Proves how the run's process finds the user's error behind whatever was raised."""

from __future__ import annotations

import pytest

from pipeline.causes import find_cause
from schemas.errors import AisleError, CatalogueError, SettingsError

# What Beam's runner made of a worker's error, shortened.
WRITTEN = """Error received from SDK harness for instruction 5: Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1501, in apache_beam.runners.common.DoFnRunner.process
  File "components/product_ingest.py", line 100, in process
schemas.errors.CatalogueError: feed.csv:7: price '12,99' isn't an amount. Use a dot. [while running 'Read']
"""


def raised(make):
    try:
        make()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_an_error_of_ours_is_itself():
    error = SettingsError("x")
    assert find_cause(error) is error


def test_an_error_of_ours_is_found_behind_others():
    def wrapped():
        try:
            raise CatalogueError("worst shops: A")
        except CatalogueError as error:
            try:
                raise ValueError("in between") from error
            except ValueError as inner:
                raise RuntimeError("stage failed") from inner

    assert str(find_cause(raised(wrapped))) == "worst shops: A"


def test_what_a_worker_wrote_of_it_is_one_line_again():
    found = find_cause(RuntimeError(WRITTEN))
    assert type(found) is CatalogueError
    assert str(found) == "feed.csv:7: price '12,99' isn't an amount. Use a dot."


@pytest.mark.parametrize("text", ["", "schemas.errors.NoSuchError: x", "KeyError: 'a'", "schemas.errors.annotations: x"])
def test_a_bug_is_nobodys_error(text):
    assert find_cause(RuntimeError(text)) is None


def test_errors_that_cause_each_other_end():
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert find_cause(first) is None


def test_every_kind_of_error_a_stage_raises_comes_back_as_itself():
    for kind in [kind for kind in AisleError.__subclasses__() if kind.__module__ == AisleError.__module__]:
        assert type(find_cause(RuntimeError(f"schemas.errors.{kind.__name__}: x"))) is kind
