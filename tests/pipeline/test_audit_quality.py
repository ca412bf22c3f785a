"""`aisle batch quality` reads real label events and says how good the model is."""

import contextlib
import io
import json

import pytest

from pipeline.cli import main
from schemas.label_event import IS, NOT, UNDER, LabelEvent, write_label_events


def quality(*words):
    """Runs the verb and returns exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["batch", "quality", *words])
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def config(tmp_path):
    """Settings with 20 audit answers, of which 18 are right, and 20 of a strategy, all wrong."""
    (tmp_path / "taxonomy.tsv").write_text("id\tparent_id\tname\texclusive\ntop\t\tTop\t0\na\ttop\tA\t1\nb\ttop\tB\t1\n")
    events = []
    for number in range(40):
        stream, said = ("audit", "a" if number < 18 else "b") if number < 20 else ("strategy", "b")
        shown = {"stream": stream, "version": 4, "suggestions": [said]}
        events.append(LabelEvent(f"e{number}", number, "ann", f"p{number}", IS, "a", shown=shown))
    write_label_events(tmp_path / "events.jsonl", events)
    path = tmp_path / "shop.yaml"
    taxonomy, labels = json.dumps(str(tmp_path / "taxonomy.tsv")), json.dumps([str(tmp_path / "events.jsonl")])
    path.write_text(f"run: {{root: {json.dumps(str(tmp_path))}}}\ntaxonomy: {{path: {taxonomy}}}\nlabels: {{events: {labels}}}\n")
    return str(path)


def test_quality_is_a_table_with_intervals(config):
    code, table, said = quality("--config", config)
    assert (code, said) == (0, "")
    rows = {line[:13].strip(): line[13:].split() for line in table.splitlines()}
    assert rows["at the answer"][0] == "90.0%"
    assert rows["at depth 1"][0] == "100.0%"
    assert rows["at the answer"][-1] == "20"


def test_quality_is_json_where_a_machine_reads_it(config):
    code, text, _ = quality("--config", config, "--json")
    found = json.loads(text)
    assert (code, found["versions"], found["at_answer"]["judged"], found["by_depth"]["2"]["value"]) == (0, [4], 20, 0.9)


def test_denials_lower_the_quality_and_what_stays_open_is_said(config, tmp_path):
    shown = {"stream": "audit", "version": 4, "suggestions": ["b"]}
    said = [LabelEvent(f"n{k}", 50 + k, "ann", f"q{k}", NOT if k else UNDER, "b" if k else "top", shown=shown) for k in range(5)]
    with (tmp_path / "events.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(event.to_json() + "\n" for event in said)
    code, table, _ = quality("--config", config)
    assert (code, table.splitlines()[1].split()[3], table.splitlines()[1].split()[-1]) == (0, "74.0%", "25")  # 18 and a half of 25.
    assert table.splitlines()[-1].startswith("too little said to tell: 1 at the answer, 1 at depth 2, counted by half;")


def test_quality_without_settings_says_how_to_name_them():
    code, _, said = quality()
    assert code == 2
    assert "--config FILE" in said


def advice(*words):
    """Runs `aisle batch advice` and returns exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["batch", "advice", *words])
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def grown(config, tmp_path):
    """Settings with four models of 0, 100, 200 and 300 answers, of whose 50 audit answers each 30, 40, 43 and 45 are right."""
    events = []
    for version, right in enumerate((30, 40, 43, 45)):
        for number in range(100):
            said = "a" if number < right else "b"
            shown = {"stream": "audit" if number < 50 else "strategy", "version": version + 1, "suggestions": [said]}
            at_ms = 1000 * version + number
            events.append(LabelEvent(f"e{version}-{number}", at_ms, "ann", f"p{version}-{number}", IS, "a", shown=shown))
    write_label_events(tmp_path / "events.jsonl", events)
    return config


def test_advice_says_what_more_answers_gain_and_what_it_goes_by(grown):
    code, table, said = advice("--config", grown, "--more", "100")
    assert (code, said) == (0, "")
    assert [line.split() for line in table.splitlines()[:-1]] == [
        ["answers", "right", "judged"],
        *(["0", "60.0%", "50"], ["100", "80.0%", "50"], ["200", "86.0%", "50"], ["300", "90.0%", "50"]),
    ]
    found = json.loads(advice("--config", grown, "--more", "100", "--json")[1])
    assert found["advice"]["answers"] == 300 and 0 < found["advice"]["gain"] < 0.04
    assert found["advice"]["low"] < found["advice"]["gain"] < found["advice"]["high"]
    assert f"The next 100 answers are expected to gain +{100 * found['advice']['gain']:.1f} points" in table


def test_advice_needs_three_models_and_says_what_to_do(config):
    code, table, said = advice("--config", config)
    assert (code, table) == (1, "")
    assert "audits say how good models are at 1 different number of answers, expected 3" in said and "--from runs" in said
