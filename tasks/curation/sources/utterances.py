"""Utterances of the repository's own synthesiser as a source."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from importlib import resources

import numpy as np

from ssl_models.keys import stream
from tasks.curation.audio import encode
from tasks.curation.records import Raw
from tasks.curation.sources.speech import Utterances
from tasks.curation.speech.synthesiser import SAMPLE_RATE, VERSION, synthesise
from tasks.curation.speech.voices import VOICES, Voice, phonemes, sentence
from tasks.errors import UserError
from tasks.stages import sha256_json

LICENCE = "Apache-2.0"  # of this repository, whose program they are the output of
_TABLES = ("phonemes.tsv", "words.tsv")


class UtterancesSource:
    """One FLAC clip for each voice and number; locators are ``VOICE/NUMBER``, and none depends on another."""

    def __init__(self, config: Utterances) -> None:
        known = {voice.name: voice for voice in VOICES}
        if unknown := [name for name in config.voices if name not in known]:
            raise UserError(
                f"there is no voice '{unknown[0]}'", where="utterances", hint=f"there are {', '.join(known)}"
            )
        self.name = config.name
        self.config = config
        self.voices = [known[name] for name in dict.fromkeys(config.voices)] or list(VOICES)
        self.read_count = 0

    @cached_property
    def _tables(self) -> list[str]:
        folder = resources.files("tasks.curation.speech")
        return [(folder / name).read_text(encoding="utf-8") for name in _TABLES]

    def total_bytes(self) -> int:
        """Bytes of the tables that the clips are made from; the clips themselves are nowhere stored."""
        return sum(len(table.encode()) for table in self._tables)

    def digest(self) -> str:
        """Hex SHA-256 of everything that the clips are made from."""
        said = [self.config.each, self.config.seed, self.config.transcript]
        return sha256_json([VERSION, [repr(voice) for voice in self.voices], self._tables, said, np.__version__])

    def __iter__(self) -> Iterator[Raw]:
        for voice in self.voices:
            for number in range(self.config.each):
                self.read_count += 1
                yield self._utterance(voice, f"{number:05d}")

    def _utterance(self, voice: Voice, number: str) -> Raw:
        seed = stream("utterances", self.config.seed, *map(ord, f"{voice.name}/{number}"))
        said = sentence(np.random.default_rng(seed))
        words = " ".join(said)
        spoken = " | ".join(" ".join(word) for word in phonemes(words))
        return Raw(
            locator=f"{voice.name}/{number}",
            uri=f"utterances:{voice.name}/{number}?seed={self.config.seed}",
            text=words if self.config.transcript == "words" else spoken,
            payload=encode(synthesise(voice, words, seed), SAMPLE_RATE),
            evidence=(("expression", LICENCE),),
            label=said[0],
            group=voice.name,
            language="en",
            media="audio",
        )
