"""What a recipe may say of the two sources of speech: utterances made on the spot, and the prompts of Asterisk."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from tasks.curation.sources.fields import STRICT, Name, Path


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Utterances:
    """Short sentences spoken by a formant synthesiser of this repository: speech with transcripts, without a download.

    `each`: utterances of each voice; `voices`: only these (none: all twelve). The transcript is in words or in
    phonemes (ARPAbet, words set apart by ``|``). A clip's group is its voice, so that a split holds voices out; its
    label is the number that is spoken first.
    """

    kind: Literal["utterances"] = "utterances"
    name: Name = "utterances"
    each: Annotated[int, Field(ge=1, le=100_000)] = 40
    voices: tuple[str, ...] = ()
    seed: Annotated[int, Field(ge=0)] = 0
    transcript: Literal["words", "phonemes"] = "words"

    opened_by: ClassVar[str] = "tasks.curation.sources.utterances:UtterancesSource"
    media: ClassVar[Literal["image", "audio"]] = "audio"
    captions: ClassVar[bool] = True


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Asterisk:
    """The spoken prompts of the Asterisk telephone exchange as Debian packages them, with their transcripts.

    `path`: where ``asterisk-core-sounds-LANGUAGE-wav`` and ``asterisk-core-sounds-LANGUAGE`` were unpacked (``/`` where
    they are installed). A clip's label is its folder (digits, letters, ...), its group the clip itself: one person
    speaks all prompts of a language. The licence is that of the package's copyright file.
    """

    kind: Literal["asterisk"] = "asterisk"
    name: Name = "asterisk"
    path: Path
    language: Annotated[str, Field(pattern="^[a-z]{2}$")] = "en"

    opened_by: ClassVar[str] = "tasks.curation.sources.asterisk:AsteriskSource"
    media: ClassVar[Literal["image", "audio"]] = "audio"
    captions: ClassVar[bool] = True
