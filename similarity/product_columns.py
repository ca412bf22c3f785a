"""Holds what similar products can be filtered by (shop, brand, gender, price), and turns a filter into a mask of rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.errors import NeighbourIndexError
from similarity.product_ids import load_mapped

BoolArray = npt.NDArray[np.bool_]
TEXT_COLUMNS = ("shop", "brand", "gender")
VALUES, PRICES = "column_values.json", "column_price.npy"
MAX_VALUES = 1_000
_MISSING = -1


@dataclass(frozen=True)
class ProductFilter:
    """Which products may be found; what is empty or None allows all.

    Attributes:
        shop, brand, gender: values, one of which a product must have, letter by letter.
        min_price, max_price: bounds, both included; a product without a price is outside of any.
    """

    shop: tuple[str, ...] = ()
    brand: tuple[str, ...] = ()
    gender: tuple[str, ...] = ()
    min_price: float | None = None
    max_price: float | None = None

    def __post_init__(self) -> None:
        """Refuses what can't be meant.

        Raises:
            NeighbourIndexError: more than `MAX_VALUES` values, a bound that isn't a number, or bounds the wrong way round.
        """
        for name in TEXT_COLUMNS:
            if len(getattr(self, name)) > MAX_VALUES:
                raise NeighbourIndexError(f"filter {name!r} has {len(getattr(self, name)):,} values; at most {MAX_VALUES:,} are allowed.")
        for name, bound in (("min_price", self.min_price), ("max_price", self.max_price)):
            if bound is not None and np.isnan(bound):
                raise NeighbourIndexError(f"filter {name!r} is {bound}; expected a number.")
        if self.min_price is not None and self.max_price is not None and self.min_price > self.max_price:
            raise NeighbourIndexError(f"min_price {self.min_price} is above max_price {self.max_price}. Swap them.")

    def __bool__(self) -> bool:
        return bool(self.shop or self.brand or self.gender or self.min_price is not None or self.max_price is not None)


@dataclass(frozen=True)
class ProductColumns:
    """Fields of products, in the order of their vectors.

    Attributes:
        codes: column to int32 `[num_products]`, the number of a product's value in `values`, -1 for none.
        values: column to its values.
        prices: float32 `[num_products]`, NaN for none.
    """

    codes: Mapping[str, npt.NDArray[np.int32]]
    values: Mapping[str, tuple[str, ...]]
    prices: npt.NDArray[np.float32]
    _numbers: dict[str, dict[str, int]] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.prices)

    def mask(self, wanted: ProductFilter, rows: slice) -> BoolArray:
        """Returns bool `[rows]`, True for the products that a filter allows."""
        allowed = np.ones(len(self.prices[rows]), np.bool_)
        for name in TEXT_COLUMNS:
            if texts := getattr(wanted, name):
                allowed &= self._one_of(name, texts, self.codes[name][rows])
        with np.errstate(over="ignore"):  # A bound beyond float32 is infinite.
            if wanted.min_price is not None:
                allowed &= self.prices[rows] >= np.float32(wanted.min_price)
            if wanted.max_price is not None:
                allowed &= self.prices[rows] <= np.float32(wanted.max_price)
        return allowed

    def _one_of(self, name: str, texts: Sequence[str], codes: npt.NDArray[np.int32]) -> BoolArray:
        if name not in self._numbers:
            self._numbers[name] = {value: number for number, value in enumerate(self.values[name])}
        wanted = [number for text in texts if (number := self._numbers[name].get(text)) is not None]
        if len(wanted) == 1:
            return np.asarray(codes == wanted[0])
        table = np.zeros(len(self.values[name]) + 1, np.bool_)  # The last place is that of products without a value.
        table[wanted] = True
        return table[codes]

    def take(self, rows: npt.NDArray[np.int64]) -> ProductColumns:
        """Returns the columns of some rows, in their order."""
        return ProductColumns({name: codes[rows] for name, codes in self.codes.items()}, self.values, self.prices[rows])

    def at(self, row: int) -> dict[str, Any]:
        """Returns the fields of one product by name, without those it hasn't."""
        found: dict[str, Any] = {name: self.values[name][codes[row]] for name, codes in self.codes.items() if codes[row] != _MISSING}
        if not np.isnan(self.prices[row]):
            found["price"] = float(self.prices[row])
        return found

    def save(self, folder: Path) -> None:
        """Writes the columns as npy, and their values as JSON."""
        for name in TEXT_COLUMNS:
            np.save(folder / f"column_{name}.npy", self.codes[name], allow_pickle=False)
        np.save(folder / PRICES, self.prices, allow_pickle=False)
        (folder / VALUES).write_text(json.dumps(dict(self.values), ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> ProductColumns | None:
        """Reads what `save` wrote; None where an index was built without columns.

        Raises:
            OSError, ValueError, KeyError: a file is missing or damaged.
        """
        if not (folder / VALUES).exists():
            return None
        values = json.loads((folder / VALUES).read_text(encoding="utf-8"))
        codes = {name: load_mapped(folder / f"column_{name}.npy") for name in TEXT_COLUMNS}
        return cls(codes, {name: tuple(values[name]) for name in TEXT_COLUMNS}, load_mapped(folder / PRICES))


def columns_from_values(texts: Mapping[str, Sequence[str | None]], prices: npt.NDArray[np.float32]) -> ProductColumns:
    """Returns columns from a value a product.

    >>> columns = columns_from_values({"shop": ["a", None], "brand": [None, None], "gender": ["f", "m"]}, np.array([1.5, np.nan]))
    >>> columns.at(0), columns.mask(ProductFilter(gender=("m",)), slice(0, 2)).tolist()
    ({'shop': 'a', 'gender': 'f', 'price': 1.5}, [False, True])

    Args:
        texts: each of `TEXT_COLUMNS` to one value a product, None or empty where it has none.
        prices: float `[num_products]`, NaN for none.
    """
    codes, values = {}, {}
    for name in TEXT_COLUMNS:
        known: dict[str, int] = {}
        numbers = (known.setdefault(text, len(known)) if text else _MISSING for text in texts[name])
        codes[name] = np.fromiter(numbers, np.int32, len(texts[name]))
        values[name] = tuple(known)
    return ProductColumns(codes, values, np.asarray(prices, np.float32))
