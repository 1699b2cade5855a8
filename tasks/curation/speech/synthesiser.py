"""Text to speech by formants, after Klatt (1980): a source of pulses and noise through resonators in cascade.

A phoneme is a row of targets, or several (phonemes.tsv): how long, how much voicing, aspiration and frication, where
the formants lie and how wide they are, and the band of the frication. The targets are laid end to end and smoothed,
which is the coarticulation. What differs from voice to voice is in `Voice`; what differs from utterance to utterance
(lengths, pitch contour, formants, the room and the microphone) is drawn from the seed.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

import numpy as np

from ssl_models.keys import stream
from tasks.curation.speech.voices import Voice, phonemes

VERSION = 2

SAMPLE_RATE = 16_000
FRAME = 80  # samples, 5 ms: how often the amplitudes change
_HOLD = 2  # frames between two changes of the resonators
_MS, _AV, _AH, _AF, _FORMANT, _WIDTH, _NOISE, _NOISE_WIDTH = 0, 1, 2, 3, slice(4, 7), slice(7, 10), 10, 11
_HIGHER = np.array([[3500.0, 4500.0], [250.0, 300.0]])  # formants 4 and 5 and their bandwidths: they tell voices apart
_FRICTION = 3.0  # against the voice: a sibilant lies some 10 to 15 dB beneath a vowel
_OPEN = 0.6  # share of a period in which the glottis is open


@lru_cache(maxsize=1)
def targets() -> dict[str, np.ndarray]:
    """phoneme: float64 [parts, 12], the columns of phonemes.tsv after the name and the part."""
    lines = (resources.files("tasks.curation.speech") / "phonemes.tsv").read_text(encoding="utf-8").splitlines()[1:]
    found: dict[str, list[list[float]]] = {}
    for line in lines:
        name, _, *numbers = line.split("\t")
        found.setdefault(name, []).append([float(number) for number in numbers])
    return {name: np.array(rows) for name, rows in found.items()}


def synthesise(voice: Voice, text: str, seed: int) -> np.ndarray:
    """float32 samples at 16 kHz of `text` (words of words.tsv) in `voice`: a function of the three and nothing else.

    ValueError for a word that is not in the vocabulary.
    """
    rng = np.random.default_rng(stream("utterance", seed, *map(ord, f"{voice.name}\0{text}")))
    rows, accents = _segments(voice, text, rng)
    tracks = _tracks(rows, rng)
    pitch = _pitch(voice, accents, len(tracks), rng)
    voiced, noise = _source(voice, np.repeat(pitch, FRAME), rng)
    aspiration = np.repeat(tracks[:, _AH] + voice.breath * tracks[:, _AV], FRAME)
    throat = voiced * np.repeat(tracks[:, _AV], FRAME) + noise * aspiration
    spread = voice.tract * np.exp(rng.normal(0, 0.02, 5))
    formants = np.concatenate([tracks[:, _FORMANT], np.tile(_HIGHER[0], (len(tracks), 1))], axis=1) * spread
    widths = np.concatenate([tracks[:, _WIDTH], np.tile(_HIGHER[1], (len(tracks), 1))], axis=1)
    hiss = noise * np.repeat(tracks[:, _AF], FRAME)
    friction = _resonate(hiss, tracks[:, [_NOISE]] * voice.tract**0.5, tracks[:, [_NOISE_WIDTH]], level=True)
    return _recorded(_resonate(throat, formants, widths) + _FRICTION * friction, rng)


def _segments(voice: Voice, text: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(targets [segments, 12] with lengths in frames, where each word begins in frames)."""
    table = targets()
    silence = table["SIL"]
    rows, starts = [silence * np.array([rng.uniform(1, 3), *[1] * 11])], []
    for number, word in enumerate(phonemes(text)):
        if number and rng.random() < 0.25:
            rows.append(silence * np.array([rng.uniform(0.3, 1.2), *[1] * 11]))
        starts.append(sum(len(part) for part in rows))
        for phoneme in word:
            part = table[phoneme].copy()
            part[:, _MS] *= rng.uniform(0.8, 1.25)
            rows.append(part)
    rows[-1] = rows[-1] * np.array([1.3, *[1] * 11])  # the last sound is drawn out
    rows.append(silence * np.array([rng.uniform(1, 3), *[1] * 11]))
    whole = np.concatenate(rows)
    whole[:, _MS] = np.maximum(1, np.round(whole[:, _MS] / 5 / voice.rate / rng.uniform(0.9, 1.1)))
    ends = np.concatenate([[0], np.cumsum(whole[:, _MS])])
    return whole, ends[starts]


def _tracks(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The targets frame by frame [frames, 12], smoothed: formants over 60 ms, amplitudes over 15 ms."""
    tracks = np.repeat(rows, rows[:, _MS].astype(int), axis=0)
    tracks[:, _FORMANT] *= 1 + _smooth(rng.normal(0, 0.12, (len(tracks), 3)), 40)
    tracks[:, _AV : _AF + 1] = _smooth(tracks[:, _AV : _AF + 1], 3)
    tracks[:, _AF + 1 :] = _smooth(tracks[:, _AF + 1 :], 12)
    return tracks


def _smooth(values_FC: np.ndarray, frames: int) -> np.ndarray:
    """Convolved with a Hann window of so many frames; the ends are held."""
    from scipy.ndimage import convolve1d

    window = np.hanning(frames + 2)[1:-1]
    return np.asarray(convolve1d(values_FC, window / window.sum(), axis=0, mode="nearest"))


def _pitch(voice: Voice, accents: np.ndarray, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Hz a frame: falls over the utterance, rises on each word, wanders a little."""
    at = np.arange(frames)
    octaves = voice.lively * (0.5 - at / frames)
    for start in accents:
        octaves += voice.lively * rng.uniform(0.1, 0.7) * np.exp(-(((at - start - 20) / 16) ** 2))
    octaves += _smooth(rng.normal(0, 0.12, (frames, 1)), 60)[:, 0] + rng.normal(0, 0.04)
    return np.asarray(voice.pitch * 2.0**octaves)


def _source(voice: Voice, pitch: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(glottal pulses, noise): the derivative of Rosenberg's pulse, softened by `tilt`; the noise is white."""
    from scipy.signal import lfilter

    phase = np.cumsum(pitch * (1 + 0.01 * rng.standard_normal(len(pitch)))) / SAMPLE_RATE % 1 / _OPEN
    pulses = np.where(phase < 1, 2 * phase - 3 * phase**2, 0.0)
    soft = 0.85 * voice.tilt
    pulses = lfilter([1 - soft], [1, -soft], pulses)
    return np.asarray(pulses), rng.standard_normal(len(pitch))


def _resonate(samples: np.ndarray, hertz_FR: np.ndarray, widths_FR: np.ndarray, level: bool = False) -> np.ndarray:
    """`samples` through R resonators in cascade whose frequency and bandwidth change every frame (Klatt's equations).

    A resonator has gain 1 at 0 Hz; with `level`, about 1 at its own frequency.
    """
    from scipy.signal import sosfilt

    hertz, widths = np.minimum(hertz_FR[::_HOLD], 0.48 * SAMPLE_RATE), widths_FR[::_HOLD]
    c = -np.exp(-2 * np.pi * widths / SAMPLE_RATE)
    b = 2 * np.exp(-np.pi * widths / SAMPLE_RATE) * np.cos(2 * np.pi * hertz / SAMPLE_RATE)
    a = 1 - np.exp(-np.pi * widths / SAMPLE_RATE) if level else 1 - b - c
    sections = np.zeros((*hertz.shape, 6))
    sections[..., 0], sections[..., 3], sections[..., 4], sections[..., 5] = a, 1, -b, -c
    state = np.zeros((hertz.shape[1], 2))
    out = np.zeros_like(samples)
    for number, section in enumerate(sections):
        here = slice(number * _HOLD * FRAME, (number + 1) * _HOLD * FRAME)
        if samples[here].any():
            out[here], state = sosfilt(section, samples[here], zi=state)
        else:
            state[:] = 0  # nothing is said, and what rang has died away
    return out


def _recorded(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As a microphone in a room has it: echoes, a colour, noise, a loudness. Without them a linear probe of the levels
    of the bands would nearly do, and learning would have nothing to add.

    The echoes die away by 60 dB within 0.1 to 0.4 s; the colour is a tilt and a hump; the noise, as coloured, lies 8 to
    30 dB beneath the speech, which is at -26 to -18 dB of full scale.
    """
    from scipy.signal import fftconvolve, lfilter

    decay = rng.uniform(0.1, 0.4) * SAMPLE_RATE
    tail = np.exp(-6.9 * np.arange(int(decay)) / decay) * rng.standard_normal(int(decay))
    echo = fftconvolve(samples, tail)[: len(samples)]
    samples = samples + echo * (_level(samples) / _level(echo) * 10 ** (rng.uniform(-20, -6) / 20))
    noise = lfilter([1], [1, -rng.uniform(0, 0.9)], rng.standard_normal(len(samples)))
    samples = samples + noise * (_level(samples) / _level(noise) * 10 ** (rng.uniform(-30, -8) / 20))
    hertz, radius = rng.uniform(300, 3500), rng.uniform(0.3, 0.8)
    hump = [1, -2 * radius * np.cos(2 * np.pi * hertz / SAMPLE_RATE), radius**2]
    samples = lfilter([1, -rng.uniform(-0.4, 0.7)], hump, samples)
    samples = samples / _level(samples) * 10 ** (rng.uniform(-26, -18) / 20)
    return np.asarray(samples / max(1.0, np.abs(samples).max() / 0.99), np.float32)


def _level(samples: np.ndarray) -> float:
    return float(np.sqrt(np.square(samples).mean()))
