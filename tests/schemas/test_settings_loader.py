"""Proves how settings are filled, and what every refusal says."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SettingsError
from schemas.settings import Settings
from schemas.settings_loader import flat_settings, load_settings, setting_places


@pytest.fixture
def load(tmp_path):
    def call(text="", *overrides, prefix="var"):
        path = tmp_path / "shop.yaml"
        path.write_text(text, encoding="utf-8")
        return load_settings(path, overrides, prefix)

    return call


def refusal(load, text="", *overrides):
    with pytest.raises(SettingsError) as error:
        load(text, *overrides)
    assert error.value.exit_code == 2
    message = str(error.value)
    assert "\n" not in message
    return message[message.index("shop.yaml") :] if message.startswith("/") else message


def test_an_empty_file_gives_the_defaults(load):
    assert load("").sampling == Settings().sampling
    assert load("sampling:\n").sampling == Settings().sampling


def test_the_file_overrides_the_defaults_and_set_overrides_the_file(load):
    settings = load("sampling: {batch_size: 7, strategy: entropy}", "sampling.batch_size=8", "sampling.batch_size=9")
    assert (settings.sampling.batch_size, settings.sampling.strategy) == (9, "entropy")


def test_set_reaches_into_networks_and_hyper_parameters(load):
    settings = load(
        "networks: {a: {feeds: [x.csv]}}",
        "networks.a.format=tsv",
        "networks.a.columns={id: no, title: name}",
        "model.parameters={dropout: 0.5, tree_shared: false}",
    )
    assert settings.networks["a"].format == "tsv"
    assert settings.networks["a"].columns == {"id": "no", "title": "name"}
    assert settings.model.parameters == {"dropout": 0.5, "tree_shared": False}


def test_texts_stay_as_they_are_spelt(load):
    settings = load("run: {name: 0501}\nnetworks: {a: {constants: {shop: 0501, brand: no, size: 1.10}}}")
    assert settings.run.name == "0501"
    assert settings.networks["a"].constants == {"shop": "0501", "brand": "no", "size": "1.10"}


def test_a_whole_number_is_a_number_too(load):
    assert load("ingest: {max_refused_share: 1}").ingest.max_refused_share == 1.0


def test_phases_are_a_list_of_sections(load):
    phases = load("phases:\n- {epochs: 2, rule_based: 1, exclusive: 0}\n- epochs: 3\n").phases
    assert [(phase.epochs, phase.rule_based, phase.exclusive) for phase in phases] == [(2.0, 1.0, 0.0), (3.0, 0.5, 0.5)]


def test_relative_paths_start_at_the_file_and_those_of_set_where_the_program_started(load, tmp_path, monkeypatch):
    monkeypatch.chdir("/tmp")
    text = "rules: {path: in/rules.tsv}\nnetworks: {a: {feeds: [feeds/*.csv, /abs/x.csv, 'gs://bucket/x.csv']}}\nrun: {root: out}"
    settings = load(text, "taxonomy.path=tree.tsv")
    assert settings.rules.path == str(tmp_path / "in" / "rules.tsv")
    assert settings.networks["a"].feeds == (str(tmp_path / "feeds" / "*.csv"), "/abs/x.csv", "gs://bucket/x.csv")
    assert settings.run.root == str(tmp_path / "out")
    assert settings.taxonomy.path == "/tmp/tree.tsv"


def test_a_tilde_is_the_home_folder(load, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    assert load("rules: {path: ~/rules.tsv}").rules.path == "/home/ann/rules.tsv"


def test_templates_are_filled(load, tmp_path):
    settings = load("run: {name: 'x-:catalogue'}", "catalogue.folder=/data/My Shop", prefix="/data/runs")
    assert settings.run.name == "x-my-shop"
    assert settings.run.root == "/data/runs/x-my-shop"
    assert settings.labels.store == "/data/runs/x-my-shop/label_events.sqlite"
    assert settings.push.folder == "/data/runs/x-my-shop/serving"
    assert load("", prefix="gs://bucket/runs").run.root == "gs://bucket/runs/aisle"


def test_the_prefix_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("AISLE_PREFIX", "/elsewhere")
    assert load_settings(None).run.root == "/elsewhere/aisle"


def test_places_name_line_or_override(tmp_path):
    path = tmp_path / "shop.yaml"
    path.write_text("run:\n  seed: 3\n\nsampling:\n  batch_size: 4\n")
    assert setting_places(path, ["sampling.batch_size=5"]) == {
        "run.seed": f"{path}:2",
        "sampling.batch_size": "--set sampling.batch_size=5",
    }


def test_every_setting_is_listed_once_in_order(load):
    keys = [key for key, _ in flat_settings(load("networks: {a: {feeds: [x]}}\nphases: [{}, {}]"))]
    assert keys[:2] == ["run.name", "run.root"]
    assert "networks.a.feeds" in keys and "phases.1.epochs" in keys
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sampling: {batch_sise: 3}", "shop.yaml:1: unknown setting 'sampling.batch_sise'. Did you mean 'sampling.batch_size'? Known: "),
        ("\nsampel: {x: 3}", "shop.yaml:2: unknown setting 'sampel'. Did you mean 'sampling'? Known: run, catalogue, "),
        ("run: {seed: many}", "shop.yaml:1: run.seed 'many' must be a whole number."),
        ("run: {seed: true}", "shop.yaml:1: run.seed True must be a whole number."),
        ("run: {seed: 1.5}", "shop.yaml:1: run.seed 1.5 must be a whole number."),
        ("run: {cache: 1}", "shop.yaml:1: run.cache 1 must be true or false."),
        ("ingest: {test_share: 10%}", "shop.yaml:1: ingest.test_share '10%' must be a number."),
        ("ingest: {test_share: .nan}", "shop.yaml:1: ingest.test_share isn't a number."),
        ("ingest: {test_share: 0.9}", "shop.yaml:1: ingest.test_share 0.9 is out of range. Allowed: in [0.01, 0.5]."),
        ("index: {exact_below: -1}", "shop.yaml:1: index.exact_below -1 is out of range. Allowed: at least 0."),
        ("run: {name: }", "shop.yaml:1: run.name None must be a text."),
        ("run: {name: [a]}", "shop.yaml:1: run.name ['a'] must be a text."),
        ("run: 3", "shop.yaml:1: run 3 must be a section with keys. Known: name, root, seed, cache."),
        ("run: {seed: {a: 1}}", "shop.yaml:1: run.seed is a section, expected a whole number."),
        ("networks: [a]", "shop.yaml:1: networks ['a'] must be a section with keys."),
        ("networks: {a: {columns: {id: [x]}}}", "shop.yaml:1: networks.a.columns.id ['x'] must be a text."),
        ("networks: {a: {feeds: {x: 1}}}", "shop.yaml:1: networks.a.feeds is a section, expected a list."),
        ("networks: {a: {feeds: 3}}", "shop.yaml:1: networks.a.feeds 3 must be a list."),
        ("networks: {a: {feeds: [3]}}", "shop.yaml:1: networks.a.feeds holds 3, expected texts."),
        ("networks: {a: {format: cvs}}", "shop.yaml:1: networks.a.format 'cvs' is unknown. Did you mean 'csv'? Known: csv, tsv, "),
        ("phases: [3]", "shop.yaml:1: phases.0 3 must be a section with keys. Known: epochs, "),
        ("phases: [{epoch: 3}]", "shop.yaml:1: unknown setting 'phases.0.epoch'. Did you mean 'phases.0.epochs'? "),
        ("run:\n  seed: 1\n  seed: 2", "shop.yaml:3: 'seed' is set twice. Keep one."),
        ("run: {seed: 1", "shop.yaml:1: this isn't YAML: "),
        ("run: {name: \x00}", "shop.yaml:1: this isn't YAML: unacceptable character"),
        ("a: 1\n---\nb: 2", "shop.yaml:2: this isn't YAML: but found another document."),
        ("[" * 3000, "shop.yaml:1: this isn't YAML: it is nested too deeply."),
        ("run: {seed: !!python/name:os.system }", "shop.yaml:1: this value can't be read: could not determine a constructor"),
        ("- run", "shop.yaml:1: expected sections such as 'run:' and 'taxonomy:', found ['run']."),
        ("a: &a\n  b: *a", "shop.yaml:"),
        ("run: {name: Shop}", "run.name 'Shop' must be lower case letters, digits and dashes, 63 at most."),
        ("run: {root: ':root/x'}", "run.root: the template :root isn't known there. Known: :prefix, :catalogue, :name."),
        ("labels: {store: ':run_id/x'}", "labels.store: the template :run_id isn't known. Known: :prefix, :catalogue, :name, :root."),
    ],
)
def test_what_is_refused_names_the_line_and_the_way_out(load, text, message):
    found = refusal(load, text)
    assert found.startswith(message), found


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.seed", "--set run.seed: expected path.to.key=value."),
        ("=3", "--set =3: expected path.to.key=value."),
        ("run.sed=3", "--set run.sed=3: unknown setting 'run.sed'. Did you mean 'run.seed'? "),
        ("run.seed={a: 1}", "--set run.seed={a: 1}: run.seed is a section, expected a whole number."),
        ("run.seed.a=1", "--set run.seed.a=1: run.seed is a section, expected a whole number."),
        ("run=3", "--set run=3: run 3 must be a section with keys."),
        ("run.seed=[1", "--set run.seed=[1: the value isn't YAML: "),
        ("sampling.strategy=", "--set sampling.strategy=: sampling.strategy '' is unknown. Known: random, "),
    ],
)
def test_what_is_refused_of_an_override_names_it(load, override, message):
    found = refusal(load, "", override)
    assert found.startswith(message), found


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"run: {name: \xe4}")
    (tmp_path / "big.yaml").write_text("# " + "x" * 5_000_000)
    for path, message in (
        (tmp_path / "none.yaml", "there is no such configuration file."),
        (tmp_path, "this is a folder. Name the YAML file in it."),
        (tmp_path / "latin.yaml", "byte 12 isn't UTF-8. Save the file as UTF-8."),
        (tmp_path / "latin.yaml" / "x", "the configuration can't be read: Not a directory. Name a file you may read."),
        (tmp_path / "big.yaml", "over 500,000 bytes are too many for a configuration. Name the YAML file of the settings."),
    ):
        with pytest.raises(SettingsError) as error:
            load_settings(path)
        assert str(error.value) == f"{path}: {message}"


@pytest.mark.parametrize("kind", ["{{x: *a{0}, y: *a{0}}}", "[*a{0}, *a{0}]"])
def test_aliases_that_unfold_without_end_are_refused_at_once(load, kind):
    lines = ["run: &a0 {name: x}", *(f"a{n}: &a{n} {kind.format(n - 1)}" for n in range(1, 60))]
    started = time.monotonic()
    assert "the aliases here unfold to over 100,000 values" in refusal(load, "\n".join(lines))
    assert time.monotonic() - started < 5


def test_aliases_that_people_use_are_fine(load):
    text = "networks:\n  a: {columns: &columns {id: no, title: name}}\n  b: {columns: *columns}"
    assert load(text).networks["b"].columns == {"id": "no", "title": "name"}


def test_a_long_value_is_cut_in_the_message(load):
    assert len(refusal(load, f"run: {{seed: {'x' * 10_000}}}")) < 300


@given(st.text(max_size=60))
def test_any_text_is_settings_or_refused_in_one_line(tmp_path_factory, text):
    path = Path(tmp_path_factory.getbasetemp()) / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    for arguments in ((path, ()), (None, (text,)), (None, (f"sampling.batch_size={text}",)), (None, (f"networks.a.columns={text}",))):
        try:
            load_settings(*arguments)
        except SettingsError as error:
            assert len(str(error)) < 1000
