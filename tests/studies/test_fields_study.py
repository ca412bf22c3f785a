"""The feature configs that a study of fields compares, and their file."""

import pytest

from schemas.errors import SettingsError
from schemas.features import load_features, reading_only, write_features
from studies.fields_study import EVERY, field_variants


def test_each_field_stands_beside_the_title_and_all_of_them_together():
    config = load_features()
    variants = field_variants(config, None)
    assert list(variants)[0] == "title alone" and list(variants)[-1] == EVERY and variants[EVERY] == config
    assert variants["title alone"].string_fields == ["title"]
    assert {len(each.string_fields) for each in list(variants.values())[1:-1]} == {2}
    assert {feature.name for feature in variants["title, brand"]} == {"title", "title_characters", "brand", "brand_words"}
    assert list(field_variants(config, ["brand"])) == ["title alone", "title, brand", EVERY]


def test_a_field_that_no_feature_reads_is_refused():
    with pytest.raises(SettingsError, match="no feature reads 'colour'. Read: .*title"):
        field_variants(load_features(), ["colour"])


def test_a_feature_config_that_was_written_reads_as_it_was(tmp_path):
    for names in (("title",), ("title", "brand", "gender")):
        config = reading_only(load_features(), names)
        write_features(tmp_path / "below" / "features.yaml", config)
        assert load_features(tmp_path / "below" / "features.yaml") == config
