"""Speech through curation under the shipped policy: voices held out, copies found, transcripts asked what texts are."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from media_chain import media_chain, write_files

from data_policies.load import load_policy
from ssl_models.audio import AudioStream
from ssl_models.reader import Index, Reader
from tasks.curation.audio import decode, encode
from tasks.curation.records import Engine
from tasks.curation.sources import open_source
from tasks.curation.sources.media import Pairs
from tasks.curation.sources.speech import Utterances
from tasks.governance.corpus import build_corpus
from tasks.governance.ledger import read_ledger
from tasks.governance.verification import verify
from tasks.home import Home

POLICY = dataclasses.replace(load_policy("open-speech"), toxicity=None)
SPOKEN = Utterances(each=3, voices=("alder", "birch", "cedar", "elm", "fir", "hazel"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, Any]]]:
    """(the corpus version of utterances and of a folder of clips, its ledger by URI)."""
    folder = tmp_path_factory.mktemp("speech")
    clips = {raw.locator: (decode(raw.payload)[0], raw.text) for raw in open_source(SPOKEN)}
    files = {}
    for name, (samples, text) in list(clips.items())[:2]:
        stream = io.BytesIO()
        soundfile.write(stream, (samples * 0.5)[1500:-1200], 16_000, format="OGG", subtype="VORBIS")
        files |= {f"{name}.ogg": stream.getvalue(), f"{name}.txt": text.encode()}
    t = np.arange(16_000) / 16_000
    files |= {"tone.wav": encode(0.3 * np.sin(2 * np.pi * 440 * t), 16_000), "tone.txt": b"a tone"}
    files |= {"quiet.flac": encode(np.zeros(16_000), 16_000), "quiet.txt": b"nothing"}
    loud = np.clip(6 * clips["cedar/00000"][0], -0.5, 0.5)
    files |= {"loud.flac": encode(loud, 16_000), "loud.txt": b"overdriven"}
    called = b"call me at someone@example.org today"
    files |= {"called.flac": encode(clips["fir/00001"][0][::-1].copy(), 16_000), "called.txt": called}
    source = Pairs(name="clips", path=str(write_files(folder / "in", files)), media="audio", licence="CC-BY-4.0")
    home = Home.at(folder / "home")
    curated = media_chain(home, [SPOKEN, source], POLICY, validation=0.34)
    version, _ = build_corpus(home, curated, POLICY, Engine())
    return version, {row["uri"]: row for row in read_ledger(version / "ledger").to_pylist()}


def test_every_clip_went_where_its_rule_says(corpus) -> None:
    version, rows = corpus
    assert verify(version) == []
    fate = {uri: (row["verdict"], row["rule"]) for uri, row in rows.items()}
    spoken = {uri: row for uri, row in rows.items() if row["source"] == "utterances"}
    assert len(spoken) == 18
    assert {fate[uri] for uri in spoken} == {("keep", None)}
    assert fate["tone.wav"] == ("drop", "audio.speech_share")
    assert fate["quiet.flac"][1] in ("audio.peak", "audio.silence_share")
    assert fate["loud.flac"] == ("drop", "audio.clipped_share")
    assert fate["called.flac"] == ("redact", "pii.email")
    ids = {row["record_id"]: uri for uri, row in rows.items()}
    for name in ("alder/00000", "alder/00001"):
        copy = rows[f"{name}.ogg"]
        assert copy["rule"] == "duplicate.near"
        assert ids[copy["survivor_id"]].startswith(f"utterances:{name}?")
        assert 0.5 <= copy["similarity"] < 1


def test_voices_are_held_out_whole(corpus) -> None:
    _, rows = corpus
    splits: dict[str, set[str]] = {}
    for uri, row in rows.items():
        if row["source"] == "utterances":
            splits.setdefault(uri.split(":")[1].split("/")[0], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert set().union(*splits.values()) == {"train", "validation"}


def test_shards_hold_flac_json_and_transcript(corpus) -> None:
    version, rows = corpus
    kept = {row["record_id"]: row for row in rows.values() if row["shard"]}
    seen = set()
    for path in sorted((version / "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            members = {member.name: tar.extractfile(member).read() for member in tar}
        for key in {name.split(".")[0] for name in members}:
            seen.add(key)
            assert {f"{key}.json", f"{key}.flac", f"{key}.txt"} <= set(members)
            facts = json.loads(members[f"{key}.json"])
            assert facts["licence"] in ("Apache-2.0", "CC-BY-4.0")
            assert b"example.org" not in members[f"{key}.txt"]
            assert soundfile.info(io.BytesIO(members[f"{key}.flac"])).samplerate == 16_000
    assert seen == set(kept)


def test_they_are_read_as_a_stream(corpus) -> None:
    version, rows = corpus
    stream = AudioStream(
        Reader(Index(version, "train", "flac", "txt"), 0), rows=4, length=16_000, texts=True, threads=1
    )
    batch = next(stream)
    assert batch.samples_BT.shape == (4, 16_000)
    assert all(batch.texts)
