"""The measures of images, audio clips and their texts that a policy may bound.

What measures them: tasks/curation/images.py, audio.py and captions.py. A name that is added here becomes a column of
the media stage's scores (`image.NAME`, `audio.NAME`) or of the captions' (`pair.NAME`), and a key of the policy.
"""

from __future__ import annotations

from collections.abc import Iterable

#: kind of measure -> its names. All are numbers; one that was not measured is null, and then no bound admits.
MEDIA_MEASURES: dict[str, tuple[str, ...]] = {
    # width, height: pixels as found, orientation applied; aspect: the longer side by the shorter; colourfulness:
    # Hasler and Suesstrunk 2003; entropy: bits of the grey histogram; sharpness: variance of the Laplacian of grey;
    # exif, gps, icc: 1 where the file has such data (icc: where it was applied); trailing_bytes: behind the image's end
    "image": (
        *("width", "height", "aspect", "colourfulness", "entropy", "sharpness", "frames"),
        *("exif", "gps", "icc", "trailing_bytes"),
    ),
    # seconds, sample_rate (Hz) and channels as found; peak: largest magnitude, 1 at full scale; offset: mean, of full
    # scale; rms: dB of full scale; clipped_share: samples in runs at a channel's extreme; silence_share: frames of 25
    # ms below -60 dB of full scale or 40 dB beneath the loud ones; bandwidth: Hz; speech_share: by Silero's detector
    "audio": (
        "seconds",
        "sample_rate",
        "channels",
        "peak",
        "offset",
        "rms",
        "clipped_share",
        "silence_share",
        "bandwidth",
        "speech_share",
    ),  # fmt: skip
    # of the caption or transcript; 0 where there is none. score: how well it fits the image, by the policy's model
    "pair": ("words", "characters", "score"),
}


def check_media_names(kind: str, measures: Iterable[str]) -> None:
    """ValueError that names the first measure that does not exist, and those that do."""
    for measure in measures:
        if measure not in MEDIA_MEASURES[kind]:
            raise ValueError(f"{kind} has no measure {measure!r}; it has {', '.join(MEDIA_MEASURES[kind])}")
