"""What a compiled pipeline is told follows the content of its inputs, and is new each time where nobody can see them."""

from __future__ import annotations

import os

import pytest

from pipeline.kubeflow.parameters import PARAMETERS, parameter_values, unknown_values
from schemas.errors import TaxonomyError
from schemas.settings_loader import load_settings
from tests.pipeline.shop import write_shop


@pytest.fixture
def told(tmp_path):
    """Returns a function that says what a run would be told now."""
    config = write_shop(tmp_path)
    settings = load_settings(config, [f"kubeflow.mount_path={tmp_path}"], prefix=str(tmp_path / "var"))
    return lambda: parameter_values(settings, "now")


def test_every_parameter_is_a_digest_where_the_volume_is_mounted(told):
    found = told()
    assert set(found) == set(PARAMETERS)
    assert all(len(value) == 64 for value in found.values())
    assert told() == found


def test_without_the_volume_all_are_unknown(tmp_path):
    settings = load_settings(write_shop(tmp_path), ["kubeflow.mount_path=/no/volume/here"], prefix=str(tmp_path))
    assert parameter_values(settings, "now") == unknown_values("now") == dict.fromkeys(PARAMETERS, "now")


@pytest.mark.parametrize(
    ("name", "line", "changed"),
    [
        ("feeds/a.csv", "a9,Green sneaker,Nordö,2.00\n", {"feeds_sha256"}),
        ("rules.tsv", "r9\tb\ttitle\trucksack\t0\n", {"rules_sha256"}),
        ("var/tiny/serving/live.json", "{}", {"live"}),
    ],
)
def test_a_change_is_told_of_and_nothing_else(tmp_path, told, name, line, changed):
    before = told()
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text((path.read_text(encoding="utf-8") if path.exists() else "") + line, encoding="utf-8")
    assert {key for key, value in told().items() if value != before[key]} == changed


def test_a_touched_file_changes_nothing(tmp_path, told):
    before = told()
    for path in tmp_path.rglob("*.*"):
        os.utime(path, (1, 1))
    assert told() == before


def test_an_input_that_cant_be_used_is_said_before_anything_is_submitted(tmp_path, told):
    (tmp_path / "taxonomy.tsv").write_text("id\tparent_id\tname\texclusive\na\tb\tA\t1\n")
    with pytest.raises(TaxonomyError):
        told()
