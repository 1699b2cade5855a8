"""Utterances and the Asterisk prompts as sources: what a record says of itself, and what a broken folder is told."""

from __future__ import annotations

import dataclasses
import gzip
from pathlib import Path

import hostile_audio
import pytest

from tasks.curation.audio import decode
from tasks.curation.sources import open_source
from tasks.curation.sources.speech import Asterisk, Utterances
from tasks.errors import UserError

SMALL = Utterances(each=2, voices=("elm", "oak"))


def test_utterances_say_who_speaks_what() -> None:
    source = open_source(SMALL)
    raws = list(source)
    assert [raw.locator for raw in raws] == ["elm/00000", "elm/00001", "oak/00000", "oak/00001"]
    assert source.read_count == 4
    assert [raw.group for raw in raws] == ["elm", "elm", "oak", "oak"]
    assert all(raw.text.split()[0] == raw.label for raw in raws)
    assert all(raw.evidence == (("expression", "Apache-2.0"),) and raw.media == "audio" for raw in raws)
    assert all(1 < len(decode(raw.payload)[0]) / 16_000 < 6 for raw in raws)


def test_an_utterance_does_not_depend_on_the_others() -> None:
    few = {raw.locator: raw.payload for raw in open_source(SMALL)}
    more = {raw.locator: raw.payload for raw in open_source(dataclasses.replace(SMALL, each=3, voices=("oak", "elm")))}
    assert few.items() <= more.items()
    assert len(more) == 6


def test_the_digest_is_of_what_decides_the_clips() -> None:
    same, others = open_source(SMALL).digest(), []
    for change in ({"each": 3}, {"voices": ("elm",)}, {"seed": 1}, {"transcript": "phonemes"}):
        others.append(open_source(dataclasses.replace(SMALL, **change)).digest())
    assert same == open_source(dataclasses.replace(SMALL, name="other")).digest()
    assert len({same, *others}) == 5
    assert next(iter(open_source(dataclasses.replace(SMALL, seed=1)))).payload != next(iter(open_source(SMALL))).payload


def test_phonemes_as_transcript() -> None:
    words = next(iter(open_source(SMALL))).text
    spoken = next(iter(open_source(dataclasses.replace(SMALL, transcript="phonemes")))).text
    assert spoken.count("|") <= len(words.split()) - 1
    assert spoken.replace("|", "").isupper()


def test_an_unknown_voice_is_an_error() -> None:
    with pytest.raises(UserError, match="no voice 'ghost'"):
        open_source(Utterances(voices=("ghost",)))


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """What the Debian packages unpack, in small."""
    sounds = tmp_path / "usr/share/asterisk/sounds/en_US_f_Voice"
    (sounds / "digits").mkdir(parents=True)
    for name in ("vm-hello.wav", "digits/1.wav", "beep.wav", "unheard.wav"):
        (sounds / name).write_bytes(hostile_audio.coded(hostile_audio.tone(0.3, 8000), 8000))
    (sounds / "silent.wav").write_bytes(b"")
    doc = tmp_path / "usr/share/doc/asterisk-core-sounds-en"
    doc.mkdir(parents=True)
    lines = "; a comment\n\nvm-hello: Hello,  and: welcome.\ndigits/1: one [1]\nbeep: [a beep]\nnot-there: x\n"
    (doc / "core-sounds-en.txt.gz").write_bytes(gzip.compress(lines.encode()))
    licences = tmp_path / "usr/share/doc/asterisk-core-sounds-en-wav"
    licences.mkdir()
    (licences / "copyright").write_text(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n"
        "Files: *\nCopyright: 2003 A\nComment: as given\nLicense: CC-BY-SA-3.0\n\n"
        "Files: ru-* it-*\nCopyright: 2010 B\nLicense: CC-BY-3.0\n\nLicense: CC-BY-3.0\n the text\n"
    )
    return tmp_path


def test_prompts_have_their_transcripts_and_licence(packages: Path) -> None:
    source = open_source(Asterisk(path=str(packages)))
    raws = {raw.locator.removeprefix("en_US_f_Voice/"): raw for raw in source}
    assert source.read_count == len(raws) == 5
    assert raws["vm-hello.wav"].text == "Hello, and: welcome."
    assert raws["digits/1.wav"].text == "one"
    assert raws["digits/1.wav"].label == "digits"
    assert raws["beep.wav"].text == ""
    assert raws["unheard.wav"].text is None
    assert raws["silent.wav"].rule == "ingest.empty"
    assert {raw.evidence for raw in raws.values()} == {(("name", "CC-BY-SA-3.0"),)}
    assert str(packages) not in repr(list(raws.values()))


def test_the_licence_is_that_of_the_language(packages: Path) -> None:
    share = packages / "usr/share"
    (share / "asterisk/sounds/en_US_f_Voice").rename(share / "asterisk/sounds/it_IT_m_Voice")
    (share / "doc/asterisk-core-sounds-en").rename(share / "doc/asterisk-core-sounds-it")
    (share / "doc/asterisk-core-sounds-it/core-sounds-en.txt.gz").rename(
        share / "doc/asterisk-core-sounds-it/core-sounds-it.txt.gz"
    )
    (share / "doc/asterisk-core-sounds-en-wav").rename(share / "doc/asterisk-core-sounds-it-wav")
    raw = next(iter(open_source(Asterisk(path=str(packages), language="it"))))
    assert raw.evidence == (("name", "CC-BY-3.0"),)
    assert raw.language == "it"


def test_the_digest_sees_every_file(packages: Path) -> None:
    before = open_source(Asterisk(path=str(packages))).digest()
    assert before == open_source(Asterisk(path=str(packages))).digest()
    transcripts = packages / "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
    transcripts.write_bytes(gzip.compress(b"vm-hello: Goodbye."))
    assert open_source(Asterisk(path=str(packages))).digest() != before


def test_a_missing_package_is_named(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(UserError, match="there is no core-sounds-en.txt.gz") as error:
        open_source(Asterisk(path=str(tmp_path_factory.mktemp("nothing"))))
    assert "apt-get download asterisk-core-sounds-en" in str(error.value.hint)
    (packages / "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz").write_bytes(b"no gzip")
    with pytest.raises(UserError, match="transcripts cannot be read"):
        list(open_source(Asterisk(path=str(packages))))
