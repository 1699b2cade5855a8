"""The image encoder as MLflow serves it: encoded images in, pooled embeddings out.

MLflow stores this file with the model and runs it when the model is loaded (models-from-code), so it imports nothing of
Gristmill, and no pickle is involved: the weights are safetensors.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

BATCH = 64  # images a forward pass


class ImageEmbedder(PythonModel):
    """timm's own pooling, the mean over a vision transformer's patches, or the image side of CLIP or SigLIP.

    Images are brought to the encoder's size.
    """

    encoder: Any

    def load_context(self, context) -> None:
        """Open the folder ``encoder`` (config, weights, preprocessor); nothing is downloaded, no remote code runs."""
        folder = Path(context.artifacts["encoder"])
        described = json.loads((folder / "config.json").read_text())
        plan = json.loads((folder / "preprocessor_config.json").read_text())
        self.size, self.mean, self.deviation = plan["size"], plan["image_mean"], plan["image_std"]
        self.pooled = "architecture" in described
        self.towers = described.get("model_type") in ("clip", "siglip")
        if self.pooled:
            import timm

            self.encoder = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        elif self.towers:
            from transformers import AutoModel

            self.encoder = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
        else:
            from transformers import ViTModel

            self.encoder = ViTModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, add_pooling_layer=False
            ).eval()

    def predict(self, context, model_input: pandas.DataFrame, params: dict[str, Any] | None = None) -> pandas.DataFrame:
        """A column of encoded images (bytes) -> a DataFrame with one column, ``embedding``: a list of floats a row."""
        import torch

        images, rows = model_input.iloc[:, 0].tolist(), []
        for start in range(0, len(images), BATCH):
            batch = torch.stack([self._pixels(image) for image in images[start : start + BATCH]])
            with torch.inference_mode():
                rows += self._embed(batch).float().tolist()
        return pandas.DataFrame({"embedding": rows})

    def _embed(self, batch: Any) -> Any:
        if self.towers:
            return self.encoder.get_image_features(pixel_values=batch).pooler_output
        found = self.encoder(batch)
        return found if self.pooled else found.last_hidden_state[:, 1:].mean(1)

    def _pixels(self, payload: bytes) -> Any:
        import numpy
        import torch
        from PIL import Image

        with Image.open(io.BytesIO(payload)) as image:
            plain = image.convert("L" if len(self.mean) == 1 else "RGB")
        size = (self.size["width"], self.size["height"])
        plain = plain if plain.size == size else plain.resize(size, Image.Resampling.BILINEAR)
        pixels = numpy.asarray(plain, dtype=numpy.float32).reshape(size[1], size[0], len(self.mean)) / 255
        scaled = (pixels - numpy.float32(self.mean)) / numpy.float32(self.deviation)
        return torch.from_numpy(scaled).permute(2, 0, 1)


set_model(ImageEmbedder())
