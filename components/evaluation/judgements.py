"""Writes and reads what a model said of each judged product, so that two versions can be compared product by product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import EvaluationError

JUDGEMENTS = "judgements.parquet"
_TEXTS = ("product_id", "title", "answer", "answer_path", "root", "predicted", "predicted_path")
_REPEATED = _TEXTS[2:]
_SCHEMA = pa.schema([*((name, pa.string()) for name in _TEXTS), ("probability", pa.float32())])


@dataclass(frozen=True)
class Judgement:
    """One product that a person answered and a model was judged on.

    Attributes:
        product_id: of the product.
        title: as people are shown it.
        answer: node id a person gave.
        answer_path: names from the root, in the tree of the model, or the tree as it stood; the id where neither has it.
        root: name of the answer's root, by which products are grouped.
        predicted: node id the model gave.
        predicted_path: its names from the root.
        probability: the model's, 0 to 1.
    """

    product_id: str
    title: str
    answer: str
    answer_path: str
    root: str
    predicted: str
    predicted_path: str
    probability: float

    @property
    def is_right(self) -> bool:
        """Whether the model gave the person's answer."""
        return self.answer == self.predicted


def write_judgements(path: Path, judgements: Sequence[Judgement]) -> None:
    """Writes judgements as one Parquet file; the folder is made when missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {name: [getattr(judgement, name) for judgement in judgements] for name in _SCHEMA.names}
    pq.write_table(pa.table(columns, schema=_SCHEMA), path, compression="zstd", use_dictionary=list(_REPEATED))


def read_judgements(path: Path) -> list[Judgement]:
    """Reads what `write_judgements` wrote, in the same order.

    Raises:
        EvaluationError: the file is missing, damaged, or lacks a column.
    """
    try:
        table = pq.read_table(path, columns=_SCHEMA.names)
    except FileNotFoundError:
        raise EvaluationError(f"{path}: there is no such file. An earlier release wrote none; run again for one.") from None
    except (pa.ArrowException, OSError, KeyError) as error:
        raise EvaluationError(f"{path}: this can't be read: {str(error).splitlines()[0]}. Run again with --set run.cache=false.") from None
    if table.schema.names != _SCHEMA.names:
        raise EvaluationError(f"{path}: found the columns {table.schema.names}, expected {_SCHEMA.names}. Run again.")
    return [Judgement(**row) for row in table.to_pylist()]
