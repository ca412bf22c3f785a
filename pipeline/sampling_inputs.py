"""Checks what the sampler and the committee are told, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from components.push_folder import MODELS
from components.sampling.target import make_target
from schemas.errors import SettingsError
from schemas.settings import Settings
from schemas.taxonomy import Taxonomy


def check_sampling(settings: Settings, taxonomy: Taxonomy) -> None:
    """Checks `sampling.subtree`, and `scoring.committee` where the push folder is on this machine.

    Raises:
        SettingsError: there is no such node, or no such version.
    """
    make_target(taxonomy, settings.sampling.subtree, settings.sampling.shop)
    folder = Path(settings.push.folder) / MODELS / settings.run.name
    known = sorted((path.name for path in folder.glob("*") if path.is_dir()), key=lambda name: (len(name), name))
    for member in settings.scoring.committee:
        if folder.parent.is_dir() and not Path(member).is_absolute() and member not in known:
            raise SettingsError(
                f"scoring.committee {member!r} isn't a pushed version. Known: {', '.join(known) or 'none'}; "
                "name one of them, or the whole path of a SavedModel."
            )


def committee_uris(committee: Sequence[str], push_folder: str, name: str) -> list[str]:
    """Returns where the members' SavedModels are: a version stands for its folder, a whole path for itself.

    >>> committee_uris(("7", "/models/other"), "/shop/serving", "shoes")
    ['/shop/serving/models/shoes/7', '/models/other']
    """
    return [str(Path(push_folder) / MODELS / name / member) for member in committee]
