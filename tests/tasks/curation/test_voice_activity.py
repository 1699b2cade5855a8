"""The speech detector is Silero's network, and it tells speech from noise and tones."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from tasks.curation.voice_activity import WINDOW, probabilities, speech_probabilities, speech_share, weights_path

NAMES = {
    "stft_conv.weight": "stft.forward_basis_buffer",
    **{f"conv{n + 1}.{part}": f"encoder.{n}.reparam_conv.{part}" for n in range(4) for part in ("weight", "bias")},
    **{f"lstm_cell.{part}_{at}": f"decoder.rnn.{part}_{at}" for part in ("weight", "bias") for at in ("ih", "hh")},
    **{f"final_conv.{part}": f"decoder.decoder.2.{part}" for part in ("weight", "bias")},
}


def test_the_network_is_the_published_one() -> None:
    """With the weights of the TorchScript model of the same wheel, its probabilities come out (the files differ)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        published = torch.jit.load(str(weights_path().parent / "silero_vad.jit"))
    state = published._model.state_dict()
    weights = {ours: state[theirs] for ours, theirs in NAMES.items()}
    rng = np.random.default_rng(0)
    samples = (rng.standard_normal(20 * WINDOW + 100) * np.linspace(0, 0.3, 20 * WINDOW + 100)).astype(np.float32)
    filled = torch.from_numpy(np.concatenate([samples, np.zeros(WINDOW - 100, np.float32)]))
    published.reset_states()
    with torch.no_grad():
        expected = [published(filled[None, at : at + WINDOW], 16_000).item() for at in range(0, len(filled), WINDOW)]
    assert np.abs(probabilities(samples, weights) - expected).max() < 1e-3
    assert len(set(np.round(expected, 3))) > 5


def test_noise_tones_and_silence_are_no_speech() -> None:
    t = np.arange(32_000) / 16_000
    rng = np.random.default_rng(0)
    for samples in (np.zeros(32_000), rng.standard_normal(32_000) * 0.1, np.sin(2 * np.pi * 440 * t) * 0.3):
        assert speech_share(samples) == 0
    assert len(speech_probabilities(np.zeros(0))) == 0
    assert speech_share(np.zeros(0)) == 0
