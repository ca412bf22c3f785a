"""Splits a catalogue's dev products again, so that defaults can be chosen without a look at its test products."""

from __future__ import annotations

import dataclasses

import numpy as np

from studies.frozen_catalogue import NO_GOLD, FrozenCatalogue

JUDGED_SHARE = 0.2


def judged_within_dev(catalogue: FrozenCatalogue, share: float = JUDGED_SHARE) -> FrozenCatalogue:
    """Returns the catalogue with a share of its dev groups in the place of the test products, whose truth is forgotten.

    Which groups is a matter of their own digests, so that every study judges on the same ones.

    Args:
        catalogue: both splits.
        share: of the groups, 0 to 1.
    """
    groups = catalogue.features.products.groups.astype(np.uint64)
    mixed = (groups * np.uint64(0xC2B2AE3D27D4EB4F)) >> np.uint64(40)
    judged = ~catalogue.is_test & (mixed < np.uint64(share * 2**24))
    return dataclasses.replace(
        catalogue,
        digest=f"{catalogue.digest}-dev",
        is_test=catalogue.is_test | judged,
        true_nodes=np.where(catalogue.is_test, NO_GOLD, catalogue.true_nodes),
    )
