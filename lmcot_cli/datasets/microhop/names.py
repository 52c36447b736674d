"""Names of the invented world, two words each, split into those for training and those for evaluation.

A single word (`Fenwell`) occurs in both splits; a full name (`Odra Fenwell`) belongs to one of them, by its CRC-32. So a
model evaluated on `test` names has seen every word and none of the names.
"""

# ruff: noqa: E501  (a list of words is one line)

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import Literal

Split = Literal["train", "test"]
Pronoun = Literal["He", "She", "It"]
TEST_SHARE = 8  # one full name in eight is kept for evaluation


@dataclass(frozen=True, slots=True)
class Entity:
    """A named thing or a plain value (`kind` is then `year`, `profession`, ...)."""

    kind: str
    name: str
    pronoun: Pronoun = "It"


def _words(starts: str, ends: str) -> list[str]:
    return [start + end for start, end in product(starts.split(), ends.split())]


_MEN = "Aldo Bram Corin Dov Emric Falk Garo Henk Ivo Jaro Kasper Lubo Marek Nils Orrin Pavo Quill Rurik Stefan Tovar Ulf Viggo Wendel Yorick"
_WOMEN = "Alva Brisa Celia Dorte Elka Freya Gwen Hedda Ilse Jorun Katla Livia Mira Nadia Odra Petra Runa Signe Tilda Una Vesna Wilma Ylva Zora"
_SURNAMES = _words(
    "Bar Cor Dal Fen Hol Kel Lan Mor Pel Ros Sel Tor Val Wen Zel", "ick mont well sen vane ford rath"
)
_PLACES = _words(
    "Ash Bren Cal Dun Fal Gren Isk Kar Lor Nev Pol Rav Sol Tam Vor", "dale mouth stead grad holm mere"
)
_LANDS = _words("Ak Bel Dor Er Gal Ket Mal Os Sar Um", "avia onia eria istan")
_SHADES = "Amber Ancient Bitter Broken Crimson Distant Electric Fading Frozen Gentle Golden Hidden Hollow Ivory Lonely Midnight Quiet Restless Savage Scarlet Silent Silver Velvet Wandering"
_NOUNS = "Anchor Avenue Bridge Candle Carnival Compass Desert Dragon Empire Falcon Garden Harbor Horizon Island Lantern Meadow Mirror Mountain Ocean Orchard Palace River Shadow Summer Thunder Valley Voyage Winter"
_BOOK_HEADS = "Chronicle Diary Echo Fable Ghost History Keeper Language Legend Letters Memory Portrait Riddle Secret Song Story"
_ALBUM_HEADS = "Burning Chasing Counting Crossing Dancing Falling Finding Leaving Losing Painting Reading Running Stealing Waking Walking Watching"
_BANDS = "Arrows Bandits Captains Drifters Engines Foxes Giants Hawks Kings Lovers Machines Owls Pilots Rebels Sailors Tigers Wolves"
_TRADES = "Airlines Bank Chemicals Electric Foods Instruments Logistics Media Motors Pictures Press Records Shipping Steel Systems Textiles"
_SCHOOLS = "Academy College Institute Polytechnic University"
_HALLS = "Gallery Hall Library Museum Pavilion Theatre"
_SIDES = "Castle East Fort Great Lake Mount New North Old Port Saint South Upper West"
_REALMS = "Central Coastal Eastern Greater Inner Lower Northern Outer Southern Western"
_PROFESSIONS = "architect baker botanist carpenter chemist dancer doctor engineer farmer geologist historian judge lawyer nurse painter pianist pilot poet sailor sculptor surgeon tailor teacher violinist"
_CURRENCIES = "crown dinar ducat florin guilder krona lira mark peso pound ruble shilling taler thaler zloty"

_MALE_NAMES = frozenset(_MEN.split())
PARTS: dict[str, tuple[list[str], list[str]]] = {
    "person": (_MEN.split() + _WOMEN.split(), _SURNAMES),
    "film": (_SHADES.split(), _NOUNS.split()),
    "book": ([f"{head} of" for head in _BOOK_HEADS.split()], _PLACES),
    "album": (_ALBUM_HEADS.split(), _NOUNS.split()),
    "band": ([f"The {shade}" for shade in _SHADES.split()], _BANDS.split()),
    "company": (_SURNAMES, _TRADES.split()),
    "university": (_PLACES, _SCHOOLS.split()),
    "museum": (_SURNAMES, _HALLS.split()),
    "city": (_SIDES.split(), _PLACES),
    "country": (_REALMS.split(), _LANDS),
}
KINDS = tuple(PARTS)
VALUES: dict[str, list[str]] = {
    "year": [str(year) for year in range(1900, 2000)],
    "profession": _PROFESSIONS.split(),
    "language": _words("Ber Cal Dro Fin Hur Kos Lum Nar Pra Sil Tur Vel", "ic ish ian"),
    "currency": _CURRENCIES.split(),
}


def split_of(name: str) -> Split:
    """Return the split that a full name belongs to."""
    return "test" if zlib.crc32(name.encode()) % TEST_SHARE == 0 else "train"


def parts_of(kind: str, name: str) -> tuple[str, str]:
    """Return the two parts of a name (`Echo of`, `Ashdale`)."""
    head, _, tail = name.rpartition(" ")
    return head, tail


class NameBook:
    """Draws names that are new to one record, all from one split."""

    def __init__(self, random: Random, split: Split) -> None:
        self._random, self._split = random, split
        self._taken: set[str] = set()

    def draw(self, kind: str, like: Entity | None = None, pronoun: Pronoun | None = None) -> Entity:
        """Return an unused entity of a kind, or a plain value; with `like`, one that shares a word with it."""
        if kind in VALUES:
            return Entity(kind, self._random.choice(VALUES[kind]))
        while True:
            name = self._compose(kind, like)
            fits = split_of(name) == self._split and pronoun in (None, _pronoun(kind, name))
            if fits and name not in self._taken:
                self._taken.add(name)
                return Entity(kind, name, _pronoun(kind, name))
            if like is not None and self._random.random() < 0.05:
                like = None  # every name that shares the word may be taken

    def _compose(self, kind: str, like: Entity | None) -> str:
        heads, tails = PARTS[kind]
        head, tail = self._random.choice(heads), self._random.choice(tails)
        if like is not None:
            if self._random.random() < 0.5:
                head = parts_of(kind, like.name)[0]
            else:
                tail = parts_of(kind, like.name)[1]
        return f"{head} {tail}"


def _pronoun(kind: str, name: str) -> Pronoun:
    if kind != "person":
        return "It"
    return "He" if name.split()[0] in _MALE_NAMES else "She"
