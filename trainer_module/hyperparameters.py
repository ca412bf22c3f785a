"""Holds every number a training run can be told, beside its range."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from schemas.errors import SettingsError

CLASS_WEIGHTS = ("none", "balanced", "square_root")
RULE_LOSSES = ("weighted", "non_negative")


@dataclass(frozen=True)
class Phase:
    """One phase of the objective schedule: `epochs` passes with these shares of a batch for each head."""

    epochs: float
    rule_based: float
    exclusive: float


# Rules first, so that the exclusive head starts from what they say; then both, mostly answers.
RULE_PHASES = (Phase(epochs=6, rule_based=1.0, exclusive=0.0),)
DEFAULT_PHASES = (*RULE_PHASES, Phase(epochs=12, rule_based=0.25, exclusive=0.75))


@dataclass(frozen=True)
class HyperParameters:
    """What a family is fitted with; saved as JSON beside the model.

    Attributes:
        embedding_size: width of the shared embedding.
        latent_size: dimensions of the space that the family few_shot learns from unlabelled products.
        batch_size: products in one step.
        learning_rate: step of the Adam optimiser; it falls linearly to a tenth over a phase.
        dropout: share of the embedding left out in training.
        prior_dropout: share of products whose exclusive logits are the rule prior alone in training, so that the prior
            keeps explaining what answers don't cover.
        tree_sharing: how much of its ancestors' exclusive logits a node gets added to its own; 0 keeps nodes apart.
        token_dropout: share of a product's tokens left out in training.
        class_weights: weight of an answer by its node: `none`, `balanced` (1 / answers) or `square_root` of that.
        rule_loss: `weighted` counts an unlabelled node as a negative of weight `unlabelled_weight`; `non_negative` is the
            risk of Kiryo et al. 2017 with `class_prior` times a node's coverage as its prior.
        rule_loss_weight: weight of the rule_based head's loss beside the exclusive head's.
        validation_share: share of the answered groups held out for early stopping; 0, the default, runs the whole schedule,
            whose falling learning rate did better in cross-validation.
        patience: epochs without a better validation loss before a phase stops.
        refit: after early stopping, fit again on every answer for the epochs that were best.
        max_rule_products: products trained on for the rule_based head at most.
        entropy_weight: of the mean entropy of unanswered products in the exclusive head's loss (Grandvalet and Bengio 2005);
            0, the default, leaves them out, as it does with the next two weights.
        mean_teacher_weight: of the squared distance to what a teacher says that averages earlier weights (Tarvainen and Valpola
            2017), reached over the first third of a phase. The teacher is what is exported. Not for the family few_shot.
        propagation: weight of what answers say of unanswered products by way of their neighbours (Zhou et al. 2004), all of them
            beside all answers; for the family few_shot only.
        mean_teacher_decay: share of the teacher's weights that a step keeps. With few answers a phase is some 70 steps, of which
            a teacher must remember a small part: at 0.99 it was still half what it was before the phase.
        unanswered_share: unanswered products a step, as a share of `batch_size`, where one of their weights isn't 0.
        unanswered_products: drawn once for the family few_shot at most, where one of their weights isn't 0.
        member_weight: of a product whose group people answered, beside 1 for one that they answered itself.
        question_weight: of all products of such a group together; 0 leaves groups out.
    """

    embedding_size: int = 128
    latent_size: int = 256
    batch_size: int = 256
    learning_rate: float = 0.005
    dropout: float = 0.0
    prior_dropout: float = 0.2
    tree_sharing: float = 0.5
    token_dropout: float = 0.2
    class_weights: str = "square_root"
    rule_loss: str = "weighted"
    unlabelled_weight: float = 1.0
    class_prior: float = 2.0
    rule_loss_weight: float = 0.3
    validation_share: float = 0.0
    patience: int = 3
    refit: bool = True
    max_rule_products: int = 500_000
    entropy_weight: float = 0.0
    mean_teacher_weight: float = 0.0
    mean_teacher_decay: float = 0.9
    propagation: float = 0.0
    unanswered_share: float = 1.0
    unanswered_products: int = 2_000
    member_weight: float = 0.5
    question_weight: float = 5.0

    def to_json(self) -> str:
        """Returns every value as indented JSON."""
        return json.dumps(asdict(self), indent=2, sort_keys=True)


_RANGES: Mapping[str, tuple[float, float]] = {
    "embedding_size": (2, 4096),
    "latent_size": (2, 4096),
    "batch_size": (2, 65_536),
    "learning_rate": (1e-6, 10),
    "dropout": (0, 0.95),
    "prior_dropout": (0, 1),
    "tree_sharing": (0, 1),
    "token_dropout": (0, 0.95),
    "unlabelled_weight": (0, 1),
    "class_prior": (1, 100),
    "rule_loss_weight": (0, 100),
    "validation_share": (0, 0.5),
    "patience": (1, 1000),
    "max_rule_products": (1, 100_000_000),
    "entropy_weight": (0, 100),
    "mean_teacher_weight": (0, 1000),
    "mean_teacher_decay": (0, 0.99999),
    "propagation": (0, 100),
    "unanswered_share": (0.01, 100),
    "unanswered_products": (1, 20_000),
    "member_weight": (0, 1),
    "question_weight": (0, 1000),
}


def hyperparameters(given: Mapping[str, Any], place: str = "model.parameters") -> HyperParameters:
    """Returns the defaults with `given` laid over them.

    Raises:
        SettingsError: an unknown name, a wrong type or a value out of range.
    """
    known = {field.name: field.type for field in fields(HyperParameters)}
    for name, value in given.items():
        if name not in known:
            close = difflib.get_close_matches(str(name), known, 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise SettingsError(f"{place}: unknown hyper-parameter {name!r}.{hint} Known: {', '.join(known)}.")
        _check(name, value, str(known[name]), place)
    return HyperParameters(**given)


def _check(name: str, value: Any, kind: str, place: str) -> None:
    choices = {"class_weights": CLASS_WEIGHTS, "rule_loss": RULE_LOSSES}.get(name)
    if choices:
        if value not in choices:
            raise SettingsError(f"{place}.{name}: {value!r} is unknown. Known: {', '.join(choices)}.")
        return
    if kind == "bool":
        if not isinstance(value, bool):
            raise SettingsError(f"{place}.{name}: {value!r} must be true or false.")
        return
    numeric = isinstance(value, int) or (kind == "float" and isinstance(value, float))
    low, high = _RANGES[name]
    if isinstance(value, bool) or not numeric or not low <= value <= high:
        what = "a whole number" if kind == "int" else "a number"
        raise SettingsError(f"{place}.{name}: {value!r} must be {what} in [{low}, {high}].")
