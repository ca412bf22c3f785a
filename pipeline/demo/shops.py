"""Holds the demo's shops, each with the habits that make its feed noisy in its own way."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.demo.vocabulary import ENGLISH, GERMAN, SWEDISH

NETWORK_A, NETWORK_B, NETWORK_C = "alpha", "bravo", "charlie"


@dataclass(frozen=True)
class Shop:
    """One shop. `roots` are names of the roots it sells, empty for all; rates are shares of its products.

    `category_depth` is how many levels its own category paths have; 0 leaves them empty. `codes` writes department
    numbers instead of names.
    """

    name: str
    network: str
    language: str = ENGLISH
    roots: tuple[str, ...] = ()
    category_depth: int = 2
    codes: bool = False
    brand_in_title: bool = True
    colour_in_title: bool = False
    capitals: bool = False
    swapped_rate: float = 0.0
    colour_in_size: bool = False
    entity_rate: float = 0.05
    tag_rate: float = 0.05
    title_chars: int = 0
    wrong_category_rate: float = 0.1
    placeholder_rate: float = 0.08
    missing_rate: float = 0.08
    missing_title_rate: float = 0.02
    separator: str = ""
    gz: bool = False


_STYLE = ("Fashion", "Beauty & Care")
_LIVING = ("Home & Living", "Garden & DIY")
_ACTIVE = ("Sports & Outdoor", "Fashion")
_FAMILY = ("Toys & Games", "Fashion", "Pets")
_TECHNIC = ("Electronics", "Garden & DIY")

SHOPS = (
    Shop("Kleiderhaus Weber", NETWORK_A, GERMAN, _STYLE, category_depth=3, entity_rate=0.2),
    Shop("Wohnfreude", NETWORK_A, GERMAN, _LIVING, colour_in_title=True),
    Shop("Elektro Brandt", NETWORK_A, GERMAN, _TECHNIC, capitals=True, codes=True),
    Shop("Radwerk Nord", NETWORK_A, GERMAN, ("Sports & Outdoor",), brand_in_title=False, category_depth=3),
    Shop("Spielzeugkiste", NETWORK_A, GERMAN, _FAMILY, swapped_rate=0.35, title_chars=60),
    Shop("Allerlei 24", NETWORK_A, GERMAN, (), category_depth=1, wrong_category_rate=0.15, placeholder_rate=0.25),
    Shop("Drogerie am Markt", NETWORK_A, GERMAN, ("Beauty & Care", "Pets"), category_depth=0, tag_rate=0.3),
    Shop("Bright Basket", NETWORK_B, ENGLISH, (), category_depth=2, gz=True),
    Shop("Harbour & Lane", NETWORK_B, ENGLISH, _STYLE, category_depth=3, colour_in_title=True),
    Shop("Cosy Corner", NETWORK_B, ENGLISH, _LIVING, brand_in_title=False, entity_rate=0.25, separator=" // "),
    Shop("Voltage Point", NETWORK_B, ENGLISH, ("Electronics",), category_depth=3, title_chars=48),
    Shop("Summit Supply", NETWORK_B, ENGLISH, _ACTIVE, colour_in_size=True, gz=True),
    Shop("Little Acorns", NETWORK_B, ENGLISH, _FAMILY, capitals=True, missing_rate=0.2),
    Shop("Paw Parade", NETWORK_B, ENGLISH, ("Pets", "Garden & DIY"), category_depth=1, tag_rate=0.35),
    Shop("Outlet Ocean", NETWORK_B, ENGLISH, (), codes=True, wrong_category_rate=0.15, placeholder_rate=0.2),
    Shop("Kvarnby Hem", NETWORK_C, SWEDISH, _LIVING, category_depth=3),
    Shop("Modebutiken Lund", NETWORK_C, SWEDISH, _STYLE, colour_in_title=True, capitals=True),
    Shop("Friluftsboden", NETWORK_C, SWEDISH, ("Sports & Outdoor",), brand_in_title=False),
    Shop("Teknikladan", NETWORK_C, SWEDISH, _TECHNIC, category_depth=0, title_chars=52, gz=True),
    Shop("Everything Else", NETWORK_C, ENGLISH, (), category_depth=1, swapped_rate=0.2, missing_rate=0.15),
    Shop("Glow Garden", NETWORK_C, ENGLISH, ("Beauty & Care", "Garden & DIY"), entity_rate=0.3),
    Shop("Trendkompass", NETWORK_C, GERMAN, (), category_depth=2, colour_in_size=True, codes=True),
    Shop("Second Shelf", NETWORK_C, ENGLISH, (), missing_rate=0.25, missing_title_rate=0.25, placeholder_rate=0.15),
    Shop("Leksakslandet", NETWORK_C, SWEDISH, ("Toys & Games",), category_depth=3, tag_rate=0.2),
)
