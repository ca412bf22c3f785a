"""Every setting of a server's section is an option of its verb, of the same range, and an option wins over the settings."""

import argparse
import dataclasses
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli import build_parser, main
from pipeline.commands import similar
from pipeline.commands.options import settings_of
from pipeline.commands.server_options import add_options, laid_over
from schemas.errors import SettingsError
from schemas.settings import ServingSettings, SimilarSettings

VERBS = {"serve": ServingSettings, "similar": SimilarSettings}
CONFIG = """
run: {name: shop}
serving: {port: 9000, rest_api_port: 9001, max_in_flight: 7, enable_batching: true, ssl_config_file: tls.config, model_root: [more]}
similar: {port: 9100, max_k: 50, folder: state, timeout_seconds: 2.5}
"""


def asked(verb, *words):
    args = build_parser(verb).parse_args([verb, *words])
    section = {"serve": "serving", "similar": "similar"}[verb]
    return laid_over(getattr(settings_of(args), section), args)


@pytest.fixture
def config(tmp_path):
    (tmp_path / "shop.yaml").write_text(CONFIG, encoding="utf-8")
    return str(tmp_path / "shop.yaml")


def test_the_file_holds_over_the_defaults_set_over_the_file_and_an_option_over_all(config, tmp_path):
    found = asked("serve", "--config", config, "--set", "serving.max_in_flight=8", "--set", "serving.port=1", "--port", "9002")
    assert (found.port, found.rest_api_port, found.max_in_flight, found.host) == (9002, 9001, 8, "127.0.0.1")
    assert (found.ssl_config_file, found.model_root) == (str(tmp_path / "tls.config"), (str(tmp_path / "more"),))
    assert asked("serve", "--config", config, "--enable_batching=false").enable_batching is False
    assert asked("serve", "--config", config, "--model_root", "a", "--model-root", "b").model_root == ("a", "b")
    found = asked("similar", "--config", config, "--max-k", "3")
    assert (found.port, found.max_k, found.folder, found.timeout_seconds) == (9100, 3, str(tmp_path / "state"), 2.5)


def test_the_similarity_server_starts_with_its_settings(config, tmp_path):
    args = build_parser("similar").parse_args(["similar", "--config", config, "--rest-port", "0"])
    options = similar._options(args)
    assert (options.port, options.rest_port, options.bounds.max_k, options.folder) == (9100, 0, 50, tmp_path / "state")


@pytest.mark.parametrize("verb", VERBS)
def test_without_options_the_settings_hold(verb):
    assert asked(verb) == VERBS[verb]()


@pytest.mark.parametrize("verb", VERBS)
def test_every_setting_is_an_option_with_its_meaning_and_default(verb, capsys):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    page = re.sub(r"\s+", " ", capsys.readouterr().out)
    for field in dataclasses.fields(VERBS[verb]):
        assert f"--{field.name.replace('_', '-')} " in page
        assert " ".join(field.metadata["doc"].rstrip(".").split()[1:]) in page
        assert field.default in ("", ()) or f"(default {str(field.default).lower().removesuffix('.0')})" in page
        # One range for options and settings, so that every number has one.
        assert field.type not in ("int", "float") or field.metadata["maximum"] is not None


@given(st.one_of(st.integers(), st.floats(), st.text(max_size=8)).map(str))
def test_an_option_takes_a_number_where_the_setting_does(text):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_options(parser, ServingSettings, {})
    for name in ("port", "grace_seconds", "max_body_bytes"):
        try:
            taken = getattr(parser.parse_args([f"--{name}={text}"]), name)
        except argparse.ArgumentError:
            continue
        assert math.isfinite(taken)
        key = f"serving.{name}={taken!r}" if isinstance(taken, int) else f"serving.{name}={taken:.20f}"
        assert settings_of(argparse.Namespace(config=None, overrides=[key])) is not None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--port", "65536"], "'65536' isn't a whole number from 0 to 65,535"),
        (["--port", "1_0"], "isn't a whole number"),
        (["--grace-seconds", "nan"], "isn't a number from 0"),
        (["--max-in-flight", "0"], "isn't a whole number from 1"),
        (["--log-requests", "some"], "invalid choice"),
        (["--enable-batching=perhaps"], "isn't true or false"),
    ],
)
def test_an_option_out_of_range_is_refused(words, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["serve", *words])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_an_unknown_setting_is_named_with_its_line(tmp_path):
    (tmp_path / "shop.yaml").write_text("serving:\n  max_inflight: 3\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"shop.yaml:2: unknown setting 'serving.max_inflight'. Did you mean 'serving.max_in_flight'"):
        asked("serve", "--config", str(tmp_path / "shop.yaml"))
