"""What the sampler and the committee are told is checked before a run starts."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.plan import plan_run
from pipeline.sampling_inputs import check_sampling, committee_uris
from schemas.errors import SettingsError
from schemas.settings import Settings
from schemas.settings_loader import load_settings
from tests.components.toy_pool import TREE
from tests.pipeline.shop import write_shop


def make_settings(folder, **changed):
    default = Settings()
    return dataclasses.replace(
        default,
        run=dataclasses.replace(default.run, name="shop"),
        push=dataclasses.replace(default.push, folder=str(folder)),
        scoring=dataclasses.replace(default.scoring, committee=changed.pop("committee", ())),
        sampling=dataclasses.replace(default.sampling, **changed),
    )


def test_a_node_is_named_by_id_or_path(tmp_path):
    for subtree in ("", "o", "Shoes > Boots"):
        check_sampling(make_settings(tmp_path, subtree=subtree), TREE)


def test_an_unknown_node_stops_the_plan(tmp_path):
    config = write_shop(tmp_path / "shop")
    with pytest.raises(SettingsError, match="sampling.subtree 'Shoos' isn't a node. Did you mean"):
        plan_run(load_settings(config, ["sampling.subtree=Shoos"], prefix=str(tmp_path / "var")))


def test_a_member_must_be_a_pushed_version(tmp_path):
    (tmp_path / "models" / "shop" / "9").mkdir(parents=True)
    (tmp_path / "models" / "shop" / "10").mkdir()
    check_sampling(make_settings(tmp_path, committee=("9", "10", "/a/model")), TREE)
    with pytest.raises(SettingsError, match=r"scoring.committee '8' isn't a pushed version. Known: 9, 10; name one of them"):
        check_sampling(make_settings(tmp_path, committee=("8",)), TREE)


@pytest.mark.parametrize("member", ["../../elsewhere", "shop", "."])
def test_a_member_that_leads_out_of_the_folder_is_refused(tmp_path, member):
    (tmp_path / "models" / "shop" / "9").mkdir(parents=True)
    with pytest.raises(SettingsError, match="isn't a pushed version"):
        check_sampling(make_settings(tmp_path, committee=(member,)), TREE)


def test_versions_stand_for_their_folders():
    assert committee_uris(["7", "/a/model"], "/shop/serving", "shop") == ["/shop/serving/models/shop/7", "/a/model"]
