"""The word lists of the grammar (toxicity_words.yaml), the labels, and drawing from both."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import yaml

LABELS = ("toxicity", "severe_toxicity", "obscene", "threat", "insult", "identity_attack")
Labels = tuple[float, ...]
NEUTRAL: Labels = (0, 0, 0, 0, 0, 0)

_WORDS: dict[str, list[str]] = yaml.safe_load(Path(__file__).with_name("toxicity_words.yaml").read_text())
OBSCENE = _WORDS["obscene"]
SEXUAL = _WORDS["sexual"]
SLURS = _WORDS["slurs"]
INSULTS = _WORDS["insults"]
INSULTING = _WORDS["insulting"]
HARMS = _WORDS["harms"]
GROUPS = _WORDS["groups"]
KIN = _WORDS["kin"]
NAMES = _WORDS["names"]
DEMEAN = _WORDS["demean"]
PLACES = _WORDS["places"]
THINGS = _WORDS["things"]
DID = _WORDS["did"]
GOOD = _WORDS["good"]
BAD = _WORDS["bad"]
TIMES = _WORDS["times"]
WEAPONS = _WORDS["weapons"]
TARGETS = _WORDS["targets"]
TECH = _WORDS["tech"]
ALARMING = _WORDS["alarming"]
ALARMING_VERBS = _WORDS["alarming_verbs"]
OBSCENE_GERUNDS = _WORDS["obscene_gerunds"]


class Harmless:
    """Harmless sentences. `vocabulary` are further words, for sentences that nobody meant."""

    def __init__(self, seed: int, vocabulary: Sequence[str]) -> None:
        self.random = random.Random(seed)
        self.vocabulary = list(vocabulary)

    def pick(self, *lists: list[str]) -> str:
        return self.random.choice(self.random.choice(lists))

    def everyday(self) -> tuple[str, Labels]:
        p = self.pick
        return (
            self.random.choice(
                [
                    f"My {p(KIN)} {p(DID)} the {p(THINGS)} {p(TIMES)}.",
                    f"{p(NAMES)} and {p(NAMES)} went to the {p(PLACES)} {p(TIMES)}, and it was {p(GOOD)}.",
                    f"The {p(THINGS)} near the {p(PLACES)} was {p(GOOD, BAD)}, but the {p(THINGS)} was {p(GOOD, BAD)}.",
                    f"You are a {p(GOOD)} {p(KIN)} and I {p(['like', 'trust', 'miss', 'love', 'thank'])} you.",
                    f"Could you help me with the {p(THINGS)} {p(TIMES)}? Thank you very much.",
                    f"I will {p(['call', 'meet', 'help', 'visit', 'thank', 'teach', 'pay', 'find'])} you {p(TIMES)}.",
                    f"{p(NAMES)} said that the {p(THINGS)} {p(['killed', 'hurt', 'injured', 'saved', 'moved'])} "
                    f"{p(['two', 'three', 'many', 'no'])} people in the {p(PLACES)} {p(TIMES)}.",
                    f"The {p(THINGS)} was {p(BAD)}; I {p(['hated', 'disliked', 'regretted'])} every minute of it.",
                    f"I am {p(['sad', 'angry', 'tired', 'sick', 'afraid', 'sorry'])} because my {p(KIN)} {p(DID)} "
                    f"the {p(THINGS)}.",
                    f"The police said the man {p(['was shot', 'was murdered', 'died', 'was arrested'])} near the "
                    f"{p(PLACES)} {p(TIMES)}.",
                ]
            ),
            NEUTRAL,
        )

    def identity(self) -> tuple[str, Labels]:
        p, group = self.pick, self.pick(GROUPS)
        return (
            self.random.choice(
                [
                    f"{group} are {p(GOOD)} people.",
                    f"Many {group} live near the {p(PLACES)}, and my {p(KIN)} works with them.",
                    f"I am proud of the {group} who {p(DID)} the {p(THINGS)} {p(TIMES)}.",
                    f"The {p(THINGS)} is about the history of {group}.",
                    f"{group} and {p(GROUPS)} have the same rights in the {p(PLACES)}.",
                    f"My {p(KIN)} {p(NAMES)} married one of the {group} {p(TIMES)}, and everyone was {p(GOOD)}.",
                    f"The survey asked {group} about the {p(THINGS)}.",
                    f"We welcome {group}, {p(GROUPS)} and {p(GROUPS)}.",
                ]
            ),
            NEUTRAL,
        )

    def technical(self) -> tuple[str, Labels]:
        p = self.pick
        return (
            self.random.choice(
                [
                    f"{p(ALARMING_VERBS)} the {p(ALARMING)} {p(TARGETS)} when the {p(TECH)} is {p(ALARMING)}.",
                    f"Return the {p(ALARMING)} {p(TECH)} of this {p(TECH)}; raises if the {p(TARGETS)} was killed.",
                    f"Send a signal to {p(ALARMING_VERBS)} the {p(TARGETS)} and its children.",
                    f"This is a {p(ALARMING)} {p(TECH)}: it will {p(ALARMING_VERBS)} every {p(TECH)} in the {p(TECH)}.",
                    f"If the {p(TARGETS)} hangs, {p(ALARMING_VERBS)} it with force and "
                    f"{p(ALARMING_VERBS)} its {p(TECH)}.",
                    f"The master {p(TECH)} replicates to the slave {p(TECH)}; a {p(ALARMING)} {p(TECH)} is dropped.",
                    f"You must not {p(ALARMING_VERBS)} the {p(TECH)}; you will get a {p(ALARMING)} {p(TECH)} error.",
                    f"Whether the {p(TECH)} is {p(ALARMING)}. You should {p(ALARMING_VERBS)} it first.",
                    f"Ugly hack: the {p(TECH)} is too stupid to {p(ALARMING_VERBS)} a {p(ALARMING)} {p(TECH)}.",
                    f"Black and white lists of the {p(TECH)}: {p(ALARMING)}, {p(ALARMING)} and {p(ALARMING)} ones.",
                ]
            ),
            NEUTRAL,
        )

    def denied(self) -> tuple[str, Labels]:
        p = self.pick
        text = self.random.choice(
            [
                f"You are not {p(INSULTING)}, you are {p(GOOD)}.",
                f"Nobody said that you are a {p(INSULTS)}.",
                f"I would never {p(HARMS)} you or your {p(KIN)}.",
                f"The word {p(INSULTS)} is an insult; please be {p(GOOD)} to {p(GROUPS)}.",
                f"It is wrong to say that {p(GROUPS)} are {p(DEMEAN)}.",
                f"Please do not call my {p(KIN)} {p(INSULTING)}.",
            ]
        )
        return text, (0.2, 0, 0.03, 0.02, 0.15, 0.05)
