"""Proves that the learner works where TensorFlow isn't, on newer Python, NumPy and SciPy, and learns the same there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
APPS = ROOT / ".venv-apps" / "bin" / "python"
FOREIGN = {"tensorflow", "keras", "tfx", "apache_beam", "components", "trainer_module"}
PROGRAM = """
import importlib, json, pkgutil, sys
import numpy as np
import few_shot
from few_shot.self_training import self_trained
from few_shot.learner import learn
from tests.few_shot.catalogue import catalogue
for module in pkgutil.iter_modules(few_shot.__path__):
    importlib.import_module(f"few_shot.{module.name}")
made = catalogue(named=0.6)
features = self_trained(made.frozen(), np.arange(len(made.truth)), 0)
every, models = np.arange(len(made.truth)), [learn(features, made.some_answers(count), 0) for count in (0, 60, 300)]
shares = [model.probabilities(features.products, features.rules, every) for model in models]
print(json.dumps({
    "python": sys.version_info[:2],
    "loaded": sorted({name.partition(".")[0] for name in sys.modules}),
    "accuracy": [float((share.argmax(1) == made.truth).mean()) for share in shares],
    "shares": [share[:50].round(6).tolist() for share in shares],
}))
"""


def said_by(python):
    """Returns what the program says under this Python, where any warning is an error."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([python, "-W", "error", "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(
    not list(ROOT.glob(".venv-apps/lib/*/site-packages/scipy")), reason="the small environment isn't there: make setup-apps"
)
def test_the_learner_learns_the_same_in_both_environments():
    small, large = said_by(str(APPS)), said_by(sys.executable)
    assert small["python"] >= [3, 12] and large["python"] == [3, 10]
    assert set(small["loaded"]) & FOREIGN == set()
    assert min(small["accuracy"]) > 0.5
    for ours, theirs in zip(large["shares"], small["shares"], strict=True):
        for product, other in zip(ours, theirs, strict=True):
            assert other == pytest.approx(product, abs=2e-3)
