"""A frozen catalogue comes back as it was, without TensorFlow, and a damaged one is refused."""

import json
import subprocess
import sys

import numpy as np
import pytest

from schemas.errors import AisleError
from studies.frozen_catalogue import is_frozen, load_catalogue, save_catalogue
from tests.studies.catalogues import frozen_catalogue

WITHOUT = """
import sys
from pathlib import Path
from studies.frozen_catalogue import load_catalogue
from studies.replay import ReplayCatalogue, ReplaySettings, campaign
import studies.replay_study, studies.workers
list(campaign(ReplayCatalogue(load_catalogue(Path(sys.argv[1])), ReplaySettings()), "default", 0, [0, 10]))
heavy = {"tensorflow", "tfx", "apache_beam", "keras", "tensorflow_transform"} & {name.partition(".")[0] for name in sys.modules}
sys.exit(" ".join(sorted(heavy)) or 0)
"""


@pytest.fixture
def folder(tmp_path):
    save_catalogue(frozen_catalogue(), tmp_path / "frozen")
    return tmp_path / "frozen"


def test_a_catalogue_comes_back_as_it_was(folder):
    before, after = frozen_catalogue(), load_catalogue(folder)
    assert is_frozen(folder)
    assert (after.name, after.digest, after.missing, after.taxonomy.ids) == ("made-up", "0" * 16, 0, before.taxonomy.ids)
    assert (list(after.product_ids), list(after.titles)) == (list(before.product_ids), list(before.titles))
    assert (after.is_test == before.is_test).all()
    assert (after.true_classes == before.true_classes).all()
    assert (after.features.products.bag != before.features.products.bag).nnz == 0
    assert np.array_equal(after.features.products.latent, before.features.products.latent)


def test_a_worker_loads_and_replays_it_without_tensorflow(folder):
    done = subprocess.run([sys.executable, "-c", WITHOUT, str(folder)], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["catalogue.json", "features.npz", "truth.npz", "taxonomy.tsv"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\x00\xff"])
def test_a_damaged_one_is_refused(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(AisleError):
        load_catalogue(folder)


def test_files_of_different_catalogues_are_refused(folder):
    about = json.loads((folder / "catalogue.json").read_text())
    (folder / "catalogue.json").write_text(json.dumps(about | {"titles": about["titles"][1:]}))
    with pytest.raises(AisleError, match=r"its files are of \[599, 600\] products"):
        load_catalogue(folder)


def test_an_unfinished_one_is_made_again(folder):
    (folder / "catalogue.json").unlink()
    assert not is_frozen(folder)
