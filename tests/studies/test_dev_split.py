"""A study within dev never sees what test products are."""

import numpy as np

from studies.dev_split import judged_within_dev
from studies.frozen_catalogue import NO_GOLD
from tests.studies.catalogues import frozen_catalogue


def test_test_products_lose_their_truth_and_whole_dev_groups_are_judged():
    whole = frozen_catalogue()
    found = judged_within_dev(whole, 0.5)
    assert (found.true_nodes[whole.is_test] == NO_GOLD).all()
    judged = found.is_test & ~whole.is_test
    groups = whole.features.products.groups
    assert not set(groups[judged]) & set(groups[~found.is_test])
    np.testing.assert_array_equal(found.true_nodes[judged], whole.true_nodes[judged])
    assert 0.3 < judged.sum() / (~whole.is_test).sum() < 0.7


def test_the_same_groups_are_judged_every_time():
    first, second = (judged_within_dev(frozen_catalogue()) for _ in range(2))
    np.testing.assert_array_equal(first.is_test, second.is_test)
    assert first.digest != frozen_catalogue().digest
