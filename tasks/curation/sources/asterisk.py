"""The prompts of Debian's asterisk-core-sounds packages as a source."""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import re
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from tasks.curation.records import Evidence, Raw
from tasks.curation.sources.speech import Asterisk
from tasks.errors import UserError
from tasks.stages import sha256_json

_MAXIMUM_BYTES = 64 << 20  # of a prompt, and of the list of transcripts
_ASIDE = re.compile(r"\[[^\]]*\]")  # what is heard but not said: [sound of monkeys screaming], dollar [$]


class AsteriskSource:
    """One record for each WAV file of a language; locators are the paths below ``usr/share/asterisk/sounds``."""

    def __init__(self, config: Asterisk) -> None:
        self.name, self.language = config.name, config.language
        self.read_count = 0
        share = Path(config.path) / "usr" / "share"
        self.sounds = share / "asterisk" / "sounds"
        self.files = sorted(path for path in self.sounds.glob(f"{self.language}_*/**/*.wav") if path.is_file())
        package = f"asterisk-core-sounds-{self.language}"
        self._transcripts = share / "doc" / package / f"core-sounds-{self.language}.txt.gz"
        self._copyright = share / "doc" / f"{package}-wav" / "copyright"
        missing = [path for path in (self._transcripts, self._copyright) if not path.is_file()]
        if missing or not self.files:
            hint = f"apt-get download {package} {package}-wav, then dpkg -x each of them into this folder"
            what = missing[0].name if missing else "WAV file"
            raise UserError(f"there is no {what} here", where=config.path, hint=hint)

    def total_bytes(self) -> int:
        """Bytes of the WAV files."""
        return sum(path.stat().st_size for path in self.files)

    @cached_property
    def _digest(self) -> str:
        named = [*self.files, self._transcripts, self._copyright]
        entries = [[path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in named]
        return sha256_json([self.language, entries, [self._locator(path) for path in self.files]])

    def digest(self) -> str:
        """Hex SHA-256 over every file's path and bytes, the transcripts and the copyright file."""
        return self._digest

    def _locator(self, path: Path) -> str:
        return path.relative_to(self.sounds).as_posix()

    def __iter__(self) -> Iterator[Raw]:
        said, evidence = self.transcripts(), self.evidence()
        for path in self.files:
            self.read_count += 1
            locator = self._locator(path)
            prompt = locator.split("/", 1)[1].removesuffix(".wav")
            raw = Raw(locator, f"asterisk:{locator}", said.get(prompt), evidence=evidence, media="audio")
            raw.label, raw.group, raw.language = prompt.rpartition("/")[0], locator, self.language
            raw.size = path.stat().st_size
            if raw.size > _MAXIMUM_BYTES:
                raw.rule, raw.detail = "ingest.too_large", f"a file of {raw.size} bytes, limit {_MAXIMUM_BYTES}"
                raw.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                raw.payload = path.read_bytes()
                raw.rule, raw.detail = ("", "") if raw.payload else ("ingest.empty", "no bytes")
            yield raw

    def transcripts(self) -> dict[str, str]:
        """prompt: what is said, from lines of ``prompt: text``; what stands in brackets is not said."""
        try:
            with gzip.open(self._transcripts) as file:
                lines = file.read(_MAXIMUM_BYTES).decode("utf-8", "replace").splitlines()
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"the transcripts cannot be read ({type(error).__name__})", where=str(self._transcripts),
                            hint="unpack the package again") from None  # fmt: skip
        pairs = [line.partition(":") for line in lines if not line.startswith(";")]
        return {prompt.strip(): " ".join(_ASIDE.sub(" ", text).split()) for prompt, colon, text in pairs if colon}

    def evidence(self) -> Evidence:
        """The licence of the last stanza of the copyright file (DEP-5) whose ``Files`` match the language's sounds."""
        found: Evidence = ()
        text = self._copyright.read_bytes()[:_MAXIMUM_BYTES].decode("utf-8", "replace")
        for stanza in re.split(r"\n\s*\n", text):
            fields = dict(re.findall(r"^(Files|License): *(.*(?:\n[ \t].*)*)", stanza, re.MULTILINE))
            patterns = fields.get("Files", "").split()
            if "License" in fields and any(fnmatch.fnmatchcase(f"{self.language}-core", one) for one in patterns):
                found = (("name", fields["License"].splitlines()[0].strip()),)
        return found
