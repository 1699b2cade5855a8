"""One file -> several records, where the recipe says so: the frames of an animation, the pieces of a long clip."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from tasks.curation.records import Raw


def split(raws: Iterable[Raw], source: Any) -> Iterator[Raw]:
    """The records, with each that is split replaced by its pieces: ``path#frame=3``, ``path#seconds=30-60``.

    Pieces of one file are of one group, so that no validation split tears them apart. A caption goes with every frame;
    a transcript is of the whole clip and goes with no piece. What cannot be split, or is too short to be, stays whole:
    the media stage judges it. `source` gives the config, and its `read_count` rises by the records that are more.
    """
    for raw in raws:
        if raw.rule or not raw.payload:
            yield raw
            continue
        found = 0
        try:
            for suffix, payload in _pieces(raw, source.config):
                found += 1
                source.read_count += found > 1
                yield replace(
                    raw,
                    locator=f"{raw.locator}#{suffix}",
                    uri=f"{raw.uri}#{suffix}",
                    payload=payload,
                    sha256=hashlib.sha256(payload).hexdigest(),
                    size=len(payload),
                    group=raw.group or raw.locator,
                    text=raw.text if raw.media == "image" else None,
                )
        except _refusals():
            if found:  # the rest of it: the beginning is there, and a record says that more was not
                source.read_count += 1
                tail = f"{raw.locator}#tail"
                yield replace(
                    raw, locator=tail, uri=tail, rule="ingest.truncated", detail="what follows cannot be split"
                )
            else:
                yield raw
            continue
        if not found:
            yield raw


def _pieces(raw: Raw, config: Any) -> Iterator[tuple[str, bytes]]:
    if raw.media == "image" and getattr(config, "split_frames", False):
        from tasks.curation.image_frames import split_image

        return split_image(raw.payload)
    if raw.media == "audio" and (seconds := getattr(config, "split_seconds", None)):
        from tasks.curation.audio_pieces import split_audio

        return split_audio(raw.payload, seconds)
    return iter(())


def _refusals() -> tuple[type[Exception], ...]:
    from tasks.curation.audio import Refused as RefusedAudio
    from tasks.curation.image_headers import Refused as RefusedImage

    return (RefusedAudio, RefusedImage, ValueError)
