"""The encoder as MLflow serves it: texts in, mean-pooled embeddings out.

MLflow stores this file with the model and runs it when the model is loaded (models-from-code), so it imports nothing of
Gristmill, and no pickle is involved: the weights are safetensors.
"""

from __future__ import annotations

from typing import Any

import pandas
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

BATCH = 32  # texts a forward pass


class TextEmbedder(PythonModel):
    """The first and the last hidden states side by side, averaged over each text's tokens.

    A text longer than the model's maximum is cut there. An empty text is embedded as its special tokens.
    """

    def load_context(self, context) -> None:
        """Open the folder ``encoder`` (config, safetensors, tokenizer); nothing is downloaded, no remote code runs."""
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        folder = context.artifacts["encoder"]
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()  # else it reports the pretraining head, which embedding has no use for
        logging.disable_progress_bar()
        try:
            self.encoder = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
        finally:
            logging.set_verbosity(verbosity)
            if bars:
                logging.enable_progress_bar()
        limits = (self.tokenizer.model_max_length, getattr(self.encoder.config, "max_position_embeddings", None))
        self.maximum_tokens = min(limit for limit in limits if limit)

    def predict(self, context, model_input: pandas.DataFrame, params: dict[str, Any] | None = None) -> pandas.DataFrame:
        """One column of texts -> a DataFrame with one column, ``embedding``: a list of floats a row.

        MLflow turns a text, a list or a series into such a column before it calls this.
        """
        texts = model_input.iloc[:, 0].tolist()
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))  # similar lengths together: less padding
        rows: list[list[float]] = [[] for _ in texts]
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            for index, vector in zip(chosen, self._embed([texts[index] for index in chosen]), strict=True):
                rows[index] = vector
        return pandas.DataFrame({"embedding": rows})

    def _embed(self, texts: list[str]) -> list[list[float]]:
        import torch

        encoded = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.maximum_tokens, return_tensors="pt"
        )
        mask_BT1 = encoded["attention_mask"].unsqueeze(-1)
        inputs = {name: encoded[name] for name in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            states = self.encoder(**inputs, output_hidden_states=True)
            hidden_BTE = torch.cat([states.hidden_states[0], states.last_hidden_state], dim=-1).float()
        return ((hidden_BTE * mask_BT1).sum(1) / mask_BT1.sum(1)).tolist()


set_model(TextEmbedder())
