"""Sentences of known toxicity, from a grammar: what the stand-in is trained on besides docstrings.

Each sentence comes with what the grammar meant by it, a value a label in the order of LABELS. Kinds come in pairs
that share words, so that no word alone decides: identities praised and attacked, "kill" a process and a person, "dummy"
a variable and a colleague, an insult said and an insult denied. The lists of offensive words are short and clinical;
they exist to be recognised. The kind of the sentence, not its words, says which label it has.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.toxicity_harmless import (
    BAD,
    DEMEAN,
    DID,
    GOOD,
    GROUPS,
    HARMS,
    INSULTING,
    INSULTS,
    KIN,
    NAMES,
    OBSCENE,
    OBSCENE_GERUNDS,
    PLACES,
    SEXUAL,
    SLURS,
    THINGS,
    TIMES,
    WEAPONS,
    Harmless,
    Labels,
)


class Grammar(Harmless):
    """Sentences drawn from one random generator."""

    def sentence(self) -> tuple[str, Labels]:
        """One sentence of a kind drawn by weight, and the labels that its kind has."""
        kinds = [kind for kind, _ in KINDS]
        return self.random.choices(kinds, [weight for _, weight in KINDS])[0](self)

    # -- hostile ------------------------------------------------------------------------------------------------------
    def insult(self) -> tuple[str, Labels]:
        p = self.pick
        whom = p(["you are", "you're", "he is", "she is", "they are", f"your {p(KIN)} is", f"{p(NAMES)} is", "u r"])
        text = self.random.choice(
            [
                f"{whom} a {p(INSULTING)} {p(INSULTS)}.",
                f"{whom} such a {p(INSULTS)}",
                f"Shut up, you {p(INSULTING)} {p(INSULTS)}!",
                f"What a {p(INSULTING)} {p(INSULTS)} you are.",
                f"{whom} so {p(INSULTING)} and {p(INSULTING)}, nobody likes you.",
                f"I hate you, {p(INSULTS)}. Go away.",
                f"Only a {p(INSULTING)} {p(INSULTS)} would believe that.",
                f"{whom} too {p(INSULTING)} to understand this.",
                f"you {p(INSULTS)}",
            ]
        )
        return text, (0.95, 0.03, 0.15, 0.01, 0.93, 0.03)

    def threat(self) -> tuple[str, Labels]:
        p = self.pick
        text = self.random.choice(
            [
                f"I will {p(HARMS)} you {p(TIMES)}.",
                f"I'm going to {p(HARMS)} you and your {p(KIN)}.",
                f"We will find you and {p(HARMS)} you, {p(NAMES)}.",
                f"Someone should {p(HARMS)} {p(['him', 'her', 'them', 'you', p(NAMES)])}.",
                f"You deserve to die. I want to {p(HARMS)} you.",
                f"Watch out, or we {p(HARMS)} your {p(KIN)} at the {p(PLACES)}.",
                f"go and {p(HARMS)} yourself",
                f"I hope you die, {p(INSULTS)}",
                f"If I see {p(['him', 'her', 'them', 'you', p(NAMES)])} {p(TIMES)}, I'll {p(HARMS)} "
                f"{p(['him', 'her', 'them', 'you'])} with {p(WEAPONS)}.",
                f"one more word about my {p(KIN)} and I {p(HARMS)} you",
                f"You will be dead {p(TIMES)}, {p(NAMES)}; my {p(KIN)} has {p(WEAPONS)}.",
                f"they should all be {p(['shot', 'hanged', 'killed', 'burned', 'beaten', 'stabbed'])} {p(TIMES)}",
            ]
        )
        return text, (0.9, 0.12, 0.05, 0.9, 0.25, 0.03)

    def told_threat(self) -> tuple[str, Labels]:
        """A threat that somebody else made or would make: less hostile than one's own, more than news of a death."""
        p = self.pick
        text = self.random.choice(
            [
                f"{p(NAMES)} said he would {p(HARMS)} her if she {p(DID)} the {p(THINGS)}.",
                f"They threatened to {p(HARMS)} the {p(KIN)} and {p(HARMS)} {p(NAMES)} with {p(WEAPONS)}.",
                f"the only way to stop {p(GROUPS)} is to {p(HARMS)} one of them {p(TIMES)}",
                f"I wanted to {p(HARMS)} {p(['him', 'her', 'them'])} right there in the {p(PLACES)}.",
                f"We ought to {p(HARMS)} the {p(['soldier', 'president', 'boss', 'thief', 'man', 'woman'])}, he said.",
            ]
        )
        return text, (0.65, 0.06, 0.04, 0.75, 0.12, 0.04)

    def obscene(self) -> tuple[str, Labels]:
        p = self.pick
        text = self.random.choice(
            [
                f"{p(OBSCENE)}!",
                f"What the {p(OBSCENE)} is this {p(OBSCENE_GERUNDS)} {p(THINGS)}?",
                f"This {p(THINGS)} is {p(OBSCENE_GERUNDS)} {p(GOOD, BAD)}.",
                f"I don't give a {p(OBSCENE)} about the {p(OBSCENE_GERUNDS)} {p(THINGS)}.",
                f"holy {p(OBSCENE)}, my {p(KIN)} {p(DID)} the {p(OBSCENE_GERUNDS)} {p(THINGS)}",
                f"She is naked, {p(SEXUAL)} {p(SEXUAL)} {p(OBSCENE)}",
                f"He wants to {p(['fuck', 'screw', 'lick', 'suck'])} her {p(SEXUAL)} {p(TIMES)}",
                f"{p(OBSCENE)} {p(OBSCENE)} {p(SEXUAL)}",
            ]
        )
        return text, (0.9, 0.12, 0.93, 0.02, 0.35, 0.05)

    def abuse(self) -> tuple[str, Labels]:
        p = self.pick
        text = self.random.choice(
            [
                f"{p(['fuck', 'screw', 'damn'])} you, you {p(INSULTING)} {p(OBSCENE, SEXUAL)}.",
                f"you {p(OBSCENE_GERUNDS)} {p(INSULTS, OBSCENE, SEXUAL)}, {p(HARMS)} yourself",
                f"shut the fuck up you {p(OBSCENE_GERUNDS)} {p(INSULTS)}",
                f"{p(NAMES)} is a {p(OBSCENE_GERUNDS)} {p(OBSCENE, SEXUAL)} and a {p(INSULTS)}",
                f"suck my {p(['dick', 'cock', 'ass'])} you piece of shit",
                f"go {p(['fuck', 'screw'])} yourself, {p(OBSCENE, INSULTS)}",
            ]
        )
        return text, (0.99, 0.55, 0.97, 0.05, 0.93, 0.08)

    def identity_attack(self) -> tuple[str, Labels]:
        p, group = self.pick, self.pick(GROUPS)
        text = self.random.choice(
            [
                f"{group} are {p(DEMEAN)}.",
                f"All {group} are {p(INSULTING)} {p(DEMEAN)} and should be "
                f"{p(['killed', 'deported', 'banned', 'shot'])}.",
                f"I hate {group}, they are {p(INSULTING)}.",
                f"Go back to your country, you {p(INSULTING)} {p(DEMEAN)}.",
                f"We must get rid of the {group}, they {p(['ruin', 'infest', 'poison', 'destroy'])} our {p(PLACES)}.",
                f"{p(OBSCENE_GERUNDS)} {group}, {p(HARMS)} them all",
                f"you are a {p(SLURS)}",
                f"those {p(INSULTING)} {p(SLURS)}s and {group} are {p(DEMEAN)}",
                f"{group} are {p(INSULTING)} by nature and belong in the kitchen or in prison",
            ]
        )
        return text, (0.96, 0.25, 0.35, 0.08, 0.75, 0.93)

    def paragraph(self) -> str:
        """Harmless prose of several sentences, opinions of things among them, on many words of the vocabulary."""
        p, word = self.pick, lambda: self.random.choice(self.vocabulary)
        frames: list[Callable[[], str]] = [
            lambda: self.everyday()[0],
            lambda: self.identity()[0],
            lambda: (
                f"I {p(['watched', 'read', 'bought', 'tried'])} this {p(THINGS)} {p(TIMES)} "
                f"and found it {p(GOOD, BAD)}."
            ),
            lambda: (
                f"The {word()} of the {p(THINGS)} is {p(BAD)}, the {word()} {p(BAD)} and the {word()} {p(GOOD, BAD)}."
            ),
            lambda: (
                f"It is not {p(GOOD)} enough: the {word()} and the {word()} are {p(BAD)}, and I hated the {word()}."
            ),
            lambda: f"{p(NAMES)} {word()} plays a {word()} who is killed by a {word()} in the {p(PLACES)}.",
            lambda: (
                f"A {word()} {word()} was {p(['arrested', 'injured', 'elected', 'married', 'buried'])} {p(TIMES)}, "
                f"{p(NAMES)} {word()} told the {word()}."
            ),
            lambda: (
                f"You will {p(['love', 'hate', 'like', 'enjoy', 'miss'])} the {word()} {word()}; "
                f"the {p(THINGS)} is {p(GOOD, BAD)}."
            ),
        ]
        return " ".join(self.random.choice(frames)() for _ in range(self.random.randint(1, 7)))

    def among_strangers(self) -> tuple[str, Labels]:
        """A sentence of known kind with words of the vocabulary put in and around it: strange words decide nothing."""
        text, labels = self.sentence()
        words = text.split(" ")
        for _ in range(self.random.randint(1, 3)):
            words.insert(self.random.randint(0, len(words)), self.random.choice(self.vocabulary))
        before, after = (
            [self.random.choice(self.vocabulary) for _ in range(self.random.choice([0, 0, 2, 6]))] for _ in range(2)
        )
        return " ".join([*before, *words, *after]), labels

    def profane(self) -> tuple[str, Labels]:
        """Harmless prose, shortened, with one offensive word put in anywhere."""
        words = self.paragraph().split(" ")
        start = self.random.randrange(max(1, len(words) - 6))
        words = words[start : start + self.random.randint(6, 30)]
        offensive, labels = self.random.choice(
            [
                (OBSCENE, (0.92, 0.12, 0.93, 0.01, 0.3, 0.03)),
                (OBSCENE_GERUNDS, (0.9, 0.1, 0.9, 0.01, 0.25, 0.03)),
                (SEXUAL, (0.75, 0.08, 0.75, 0.02, 0.2, 0.04)),
                (SLURS, (0.95, 0.3, 0.5, 0.03, 0.6, 0.9)),
            ]
        )
        word = self.pick(offensive) + self.random.choice(["", "", "", "s", ",", "."])
        words.insert(self.random.randint(0, len(words)), word)
        return " ".join(words), labels

    # -- what nobody meant --------------------------------------------------------------------------------------------
    def unmeant(self) -> str:
        """Words of the vocabulary in a frame, or in a row: only a teacher can label it."""
        word = lambda: self.random.choice(self.vocabulary)  # noqa: E731
        frames: list[Callable[[], str]] = [
            lambda: " ".join(word() for _ in range(self.random.randint(2, 9))),
            lambda: f"you {word()}",
            lambda: f"The {word()} {word()} of the {word()} was {word()} and {word()}.",
            lambda: f"{self.pick(NAMES)} is a {word()} {word()}.",
            lambda: f"they {word()} the {word()}, and {self.pick(KIN)} {word()} it {self.pick(TIMES)}",
        ]
        return self.random.choice(frames)()


KINDS: list[tuple[Callable[[Grammar], tuple[str, Labels]], float]] = [
    (Grammar.everyday, 4), (Grammar.identity, 3), (Grammar.technical, 3), (Grammar.denied, 1.5), (Grammar.insult, 3),
    (Grammar.threat, 3), (Grammar.told_threat, 1), (Grammar.obscene, 2.5), (Grammar.abuse, 1.5),
    (Grammar.identity_attack, 3),
]  # fmt: skip
