"""Checks ranges, names and messages of the hyper-parameters."""

import json
from dataclasses import asdict, fields

import pytest

from schemas.errors import SettingsError
from trainer_module.hyperparameters import HyperParameters, hyperparameters


def test_nothing_given_is_the_defaults_and_what_is_given_is_laid_over_them():
    assert hyperparameters({}) == HyperParameters()
    assert hyperparameters({"embedding_size": 16, "refit": False}) == HyperParameters(embedding_size=16, refit=False)


def test_every_default_is_in_its_own_range():
    assert hyperparameters(asdict(HyperParameters())) == HyperParameters()


def test_every_hyper_parameter_is_documented():
    for field in fields(HyperParameters):
        assert f"        {field.name}: " in HyperParameters.__doc__ or field.name in ("batch_size", "unlabelled_weight", "class_prior"), (
            field.name
        )


def test_the_json_reads_back():
    assert hyperparameters(json.loads(HyperParameters(patience=7).to_json())) == HyperParameters(patience=7)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"embeding_size": 3},
            r"model.parameters: unknown hyper-parameter 'embeding_size'. Did you mean 'embedding_size'\? Known: embedding_size",
        ),
        ({"zzz": 3}, r"model.parameters: unknown hyper-parameter 'zzz'. Known: "),
        ({"dropout": 0.99}, r"model.parameters.dropout: 0.99 must be a number in \[0, 0.95\]"),
        ({"dropout": float("nan")}, r"model.parameters.dropout: nan must be a number"),
        ({"dropout": True}, r"model.parameters.dropout: True must be a number"),
        ({"batch_size": 2.5}, r"model.parameters.batch_size: 2.5 must be a whole number in \[2, 65536\]"),
        ({"batch_size": "32"}, r"model.parameters.batch_size: '32' must be a whole number"),
        ({"refit": 1}, r"model.parameters.refit: 1 must be true or false"),
        ({"rule_loss": "hinge"}, r"model.parameters.rule_loss: 'hinge' is unknown. Known: weighted, non_negative"),
        ({"class_weights": None}, r"model.parameters.class_weights: None is unknown. Known: none, balanced, square_root"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name_with_the_way_out(given, message):
    with pytest.raises(SettingsError, match=message):
        hyperparameters(given)


def test_the_place_is_the_callers():
    with pytest.raises(SettingsError, match=r"^tuner.space.patience: 0 must be"):
        hyperparameters({"patience": 0}, "tuner.space")
