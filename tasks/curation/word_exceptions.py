"""Chunks that are cut otherwise than the signs in them say: contractions, abbreviations, times, emoticons.

English as it is written in the web's text: with either apostrophe, and without one ("dont").
"""

from __future__ import annotations

from importlib.resources import files
from itertools import product

_PRONOUNS = ("i", "you", "he", "she", "it", "we", "they")
_ASKING = ("who", "what", "when", "where", "why", "how", "there")
_POINTING = ("that", "this")
_MODAL = ("could", "might", "must", "should", "would")
_NOT_HAVE = ("ca", "do", "does", "did", "had", "may", "need", "ought", "sha", "wo", *_MODAL)
_NOT = ("ai", "are", "is", "was", "were", "have", "has", "dare")
_OWN = ("ill", "its", "hell", "shell", "shed", "were", "well", "whore")  # words of their own


def _contractions() -> dict[str, tuple[str, ...]]:
    """ "I'd've" -> I, 'd, 've, and the same without its apostrophes."""
    made: dict[str, tuple[str, ...]] = {}

    def add(stem: str, *ends: str) -> None:
        for case in (stem, stem.title()):
            made[case + "".join(ends)] = (case, *ends)
            bare = tuple(end.replace("'", "") for end in ends)
            made[case + "".join(bare)] = (case, *bare)

    add("i", "'m")
    add("i", "'m", "a")
    for stem in (*_PRONOUNS, *_ASKING, *_POINTING, "these", "those"):
        for ends in (("'ll",), ("'ll", "'ve"), ("'d",), ("'d", "'ve")):
            add(stem, *ends)
    for stem in ("he", "she", "it", *_ASKING, *_POINTING):
        add(stem, "'s")
    for stem in ("you", "we", "they", *_ASKING, "these", "those"):
        add(stem, "'re")
    for stem in ("i", "you", "we", "they", *_ASKING, "these", "those"):
        add(stem, "'ve")
    for stem in _NOT_HAVE:
        add(stem, "n't")
        add(stem, "n't", "'ve")
    for stem in _NOT:
        add(stem, "n't")
    for stem in (*_MODAL, "not"):
        add(stem, "'ve")
    for whole in _OWN:
        made.pop(whole, None)
        made.pop(whole.title(), None)
    for cut in ("let 's", "c'm on", "how 'd 'y", "can not", "gon na", "got ta"):
        parts = cut.split()
        made["".join(parts)] = tuple(parts)
        made["".join(parts).capitalize()] = (parts[0].capitalize(), *parts[1:])
    made |= {"y'all": ("y'", "all"), "yall": ("y", "all")}
    return made


def _whole() -> list[str]:
    """Chunks that stay whole: abbreviations, clipped words, emoticons."""
    lines = files("tasks.curation").joinpath("whole_words.txt").read_text(encoding="utf-8").splitlines()
    return [word for line in lines[2:] for word in line.split()]


def _exceptions() -> dict[str, tuple[str, ...]]:
    made = _contractions() | {text: (text,) for text in _whole()}
    for hour, (end, dotted) in product(range(1, 13), (("am", "a.m."), ("pm", "p.m."))):
        made |= {f"{hour}{end}": (str(hour), end), f"{hour}{dotted}": (str(hour), dotted)}
    made |= {f"°{scale}.": ("°", scale, ".") for scale in "CFKcfk"}
    curly = {text.replace("'", "’"): tuple(word.replace("'", "’") for word in cut) for text, cut in made.items()}
    return made | curly


EXCEPTIONS = _exceptions()
