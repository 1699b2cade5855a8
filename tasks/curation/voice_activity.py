"""How much of a clip is speech: Silero's detector, run in plain torch from the safetensors that its wheel ships.

The wheel's own loaders open TorchScript and ONNX files; the same weights lie beside them as safetensors, and the model
is small enough to write down: a fixed short-time Fourier transform, four convolutions, one LSTM cell, one output.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 16_000
WINDOW = 512  # samples: the model gives one probability for each
_CONTEXT = 64  # samples of the window before that it sees too
_BINS = 129  # of a Fourier transform of 256 samples, hop 128
_BATCH = 2048  # windows: what bounds the memory of a long clip
SPEECH_FROM = 0.5  # the probability from which a window is speech, as the model's authors use it

MODEL = "silero-vad 6.2.3, 16 kHz"


def weights_path() -> Path:
    """Where the installed wheel keeps the weights. ValueError when silero-vad is not installed."""
    spec = find_spec("silero_vad")  # found, not imported
    if spec is None or not spec.submodule_search_locations:
        raise ValueError("silero-vad is not installed: no share of speech can be measured")
    return Path(spec.submodule_search_locations[0]) / "data" / "silero_vad_16k.safetensors"


@lru_cache(maxsize=1)
def weights_sha256() -> str:
    """Hex SHA-256 of the weights: part of what a measure depends on."""
    return hashlib.sha256(weights_path().read_bytes()).hexdigest()


@lru_cache(maxsize=1)
def _weights() -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(weights_path())


def speech_probabilities(samples: np.ndarray) -> np.ndarray:
    """The probability of speech in each window of 512 samples, float64 [ceil(N / 512)], rounded to 4 decimals.

    `samples`: float [N] at 16 kHz, full scale 1. The last window is filled up with silence.
    """
    return probabilities(samples, _weights()) if len(samples) else np.empty(0)


def probabilities(samples: np.ndarray, w: Mapping[str, Tensor]) -> np.ndarray:
    """`speech_probabilities` with given weights, named as in the wheel's safetensors."""
    import torch
    from torch.nn import functional as F

    windows = -(-len(samples) // WINDOW)
    padded = np.zeros(_CONTEXT + windows * WINDOW, np.float32)
    padded[_CONTEXT : _CONTEXT + len(samples)] = samples
    views_NT = torch.from_numpy(padded).unfold(0, _CONTEXT + WINDOW, WINDOW)
    features = []
    with torch.inference_mode():
        for start in range(0, windows, _BATCH):
            x = F.pad(views_NT[start : start + _BATCH, None], (0, _CONTEXT), "reflect")
            x = F.conv1d(x, w["stft_conv.weight"], stride=128)
            x = (x[:, :_BINS].square() + x[:, _BINS:].square()).sqrt()
            for layer, stride in (("conv1", 1), ("conv2", 2), ("conv3", 2), ("conv4", 1)):
                x = F.relu(F.conv1d(x, w[f"{layer}.weight"], w[f"{layer}.bias"], stride=stride, padding=1))
            features.append(x.squeeze(-1))
        state = torch.zeros(1, 1, 128)
        cell = [w[f"lstm_cell.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        hidden_N1D, _, _ = torch.lstm(
            torch.cat(features)[:, None], (state, state), cell, True, 1, 0.0, False, False, False
        )
        logits = F.relu(hidden_N1D[:, 0]) @ w["final_conv.weight"][0, :, 0] + w["final_conv.bias"]
        return logits.sigmoid().double().numpy().round(4)


def speech_share(samples: np.ndarray) -> float:
    """Share of the windows of 512 samples that hold speech (0 for a clip without samples); `samples` as above."""
    found = speech_probabilities(samples)
    return float((found >= SPEECH_FROM).mean()) if len(found) else 0.0
