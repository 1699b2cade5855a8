"""Small folders of images and clips, and the steps of curation over them without Prefect."""

import dataclasses
import hashlib
import io
from pathlib import Path

import numpy as np

from data_policies.load import load_policy
from tasks.curation import steps
from tasks.curation.assemble import Curated
from tasks.curation.captions import Captions
from tasks.curation.ingest import source_digests
from tasks.curation.languages import Languages
from tasks.curation.media import MediaSettings
from tasks.curation.media_stage import media_stage
from tasks.curation.pii import Pii
from tasks.curation.quality import Quality
from tasks.curation.records import Engine

POLICY = dataclasses.replace(load_policy("open-definition"), toxicity=None, languages=None)


def picture(seed: int, width: int = 16, height: int = 12, form: str = "PNG", **options) -> bytes:
    """An image of noise, different for every seed."""
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def clip(seed: int, seconds: float = 0.5, rate: int = 8000, channels: int = 1, form: str = "WAV") -> bytes:
    """A clip of a few tones, different for every seed."""
    import soundfile

    random, time = np.random.default_rng(seed), np.arange(int(seconds * rate)) / rate
    tones = sum(np.sin(2 * np.pi * random.uniform(100, 3000) * time) for _ in range(4)) / 8
    file = io.BytesIO()
    samples = np.rint(np.stack([tones] * channels, axis=1) * 32767).astype(np.int16)
    soundfile.write(file, samples, rate, format=form)
    return file.getvalue()


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def media_chain(home, sources, policy=POLICY, settings=MediaSettings(), name="media", more=(), **changes) -> Curated:
    """The finished stages of a corpus of images or clips, as `build_corpus` takes them; toxicity is left out."""
    media, captions = sources[0].media, any(source.captions for source in sources)
    ingested = steps.ingest_stage(home, sources, source_digests(sources))
    scorers = (Languages(), Quality(("basic",)), Pii(home.key()), Captions(), *more)
    scored = [
        steps.licence_stage(home, ingested, Engine()),
        *(steps.score_stage(home, ingested, scorer, Engine()) for scorer in scorers),
        media_stage(home, ingested, media, captions, settings, Engine()),
    ]
    curated = Curated(
        name=name,
        curation_sha256="0" * 64,
        validation=0.2,
        group_by="group",
        ingested=ingested,
        scored=scored,
        decided=steps.decide_stage(home, ingested, scored, policy),
        pairs=steps.media_pairs_stage(home, ingested, scored[-1], policy),
        key_id=hashlib.sha256(home.key()).hexdigest()[:16],
    )
    return dataclasses.replace(curated, **changes)
