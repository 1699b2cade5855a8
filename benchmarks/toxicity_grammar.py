"""Sentences of known toxicity, from a grammar: what the stand-in is trained on besides docstrings.

Each sentence comes with what the grammar meant by it, a value a label in the order of LABELS. Kinds come in pairs
that share words, so that no word alone decides: identities praised and attacked, "kill" a process and a person, "dummy"
a variable and a colleague, an insult said and an insult denied. The lists of offensive words are short and clinical;
they exist to be recognised. The kind of the sentence, not its words, says which label it has.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

LABELS = ("toxicity", "severe_toxicity", "obscene", "threat", "insult", "identity_attack")
Labels = tuple[float, ...]
NEUTRAL: Labels = (0, 0, 0, 0, 0, 0)


def _words(text: str) -> list[str]:
    return [word.replace("_", " ") for word in text.split()]


OBSCENE = _words(
    "fuck fucking fucked shit bullshit bitch asshole ass dick cock cunt piss bastard damn motherfucker crap"
)
SEXUAL = _words("slut whore pussy dildo cum porn blowjob tits masturbate orgasm horny naked penis vagina rape")
SLURS = _words("nigger faggot retard tranny kike spic chink")
INSULTS = _words(
    "idiot moron imbecile fool loser pig clown coward liar fraud dummy dimwit scum parasite jerk creep freak rat "
    "halfwit "
    "dumbass jackass douchebag worm maggot pervert hypocrite crook brat trash garbage filth disgrace nobody snake"
)
INSULTING = _words(
    "stupid dumb pathetic worthless disgusting ugly ignorant useless brainless filthy lazy fat crazy insane retarded "
    "incompetent clueless vile sick twisted rotten miserable spineless delusional braindead moronic idiotic"
)
HARMS = _words(
    "kill murder shoot stab strangle beat hang burn choke hurt destroy slaughter drown break hunt_down cut crush "
    "poison punch slap torture behead bury smash"
)
GROUPS = _words(
    "women men muslims christians jews hindus buddhists atheists immigrants refugees foreigners blacks whites asians "
    "mexicans africans arabs gays lesbians transgender_people disabled_people old_people gypsies americans russians "
    "indians chinese_people black_people white_people gay_people jewish_people muslim_people trans_women homosexuals"
)
KIN = _words(
    "mother father sister brother friend neighbour colleague teacher doctor boss cousin uncle daughter wife son"
)
NAMES = _words("anna john maria peter fatima ahmed wei sarah david rosa ivan priya tom mary james")
DEMEAN = _words("animals vermin criminals terrorists parasites rats savages scum subhuman filth cockroaches a_disease")
PLACES = _words(
    "park school hospital market library station village city office kitchen church mosque stadium bridge farm"
)
THINGS = _words(
    "book letter film song garden house car train meal picture game match meeting report market lesson story plan bill "
    "election concert team court war river storm company budget police fire accident trial president soldier museum"
)
DID = _words(
    "visited bought sold read finished repaired opened watched liked described missed found left remembered discussed "
    "painted cleaned reviewed cancelled praised criticised lost won destroyed rejected attacked survived"
)
GOOD = _words("good kind clever pleasant useful calm honest lovely brilliant careful friendly strong bright fair happy")
BAD = _words(
    "bad boring slow dull weak long expensive confusing noisy terrible awful horrible poor cheap disappointing"
)
TIMES = _words(
    "yesterday today tomorrow last_week in_the_morning at_night on_monday in_1998 after_lunch this_year again"
)
TARGETS = _words(
    "process thread job child_process worker daemon session connection server container task subprocess query"
)
TECH = _words(
    "variable buffer handler table index cache node branch cluster tensor array module column token packet socket lock "
    "record iterator callback parser header field widget pipeline kernel matrix"
)
ALARMING = _words(
    "dummy garbage dirty naked raw dead orphan zombie bad broken invalid illegal ugly stupid hacky trivial native "
    "black "
    "white blind abortive fatal crippled master slave male female rogue hostile toxic explicit bare dumb"
)
ALARMING_VERBS = _words(
    "kill abort execute terminate destroy crash trash dump hang strip penetrate inject hijack poison smash flush purge "
    "mask kick nuke reap fork suppress blow_up shoot_down attack detect drop screw hack sniff exploit"
)
OBSCENE_GERUNDS = _words("fucking goddamn damn bloody freaking shitty fucked-up bullshit crappy")


class Grammar:
    """Sentences drawn from one random generator; `vocabulary` are further words (for sentences that nobody meant)."""

    def __init__(self, seed: int, vocabulary: Sequence[str]) -> None:
        self.random = random.Random(seed)
        self.vocabulary = list(vocabulary)

    def pick(self, *lists: list[str]) -> str:
        return self.random.choice(self.random.choice(lists))

    def sentence(self) -> tuple[str, Labels]:
        """One sentence of a kind drawn by weight, and the labels that its kind has."""
        kinds = [kind for kind, _ in KINDS]
        return self.random.choices(kinds, [weight for _, weight in KINDS])[0](self)

    # -- neutral ------------------------------------------------------------------------------------------------------
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
            ]
        )
        return text, (0.9, 0.12, 0.05, 0.9, 0.25, 0.03)

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
    (Grammar.threat, 2), (Grammar.obscene, 2.5), (Grammar.abuse, 1.5), (Grammar.identity_attack, 3),
]  # fmt: skip
