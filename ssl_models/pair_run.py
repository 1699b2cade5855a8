"""A run on image-text pairs: shards of pictures with captions, a tokenizer, two towers; the loop is every run's."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from ssl_models.image_run import ImageRun
from ssl_models.members import IMAGES, member_of, members
from ssl_models.objectives import build_pair_method
from ssl_models.pair_config import CLIP, PairEncoder, SigLIP
from ssl_models.pair_encoders import token_ids
from ssl_models.pairs import PairStream
from ssl_models.reader import Index, open_reader
from ssl_models.run import Run
from ssl_models.vocabulary import special_ids


class PairRun(ImageRun):
    def _open(self) -> None:
        spec, folder = self.spec, Path(self.spec.tokenizer_folder)
        encoder = spec.encoder
        assert isinstance(encoder, PairEncoder)
        corpus = Path(spec.corpus.folder)
        if "txt" not in members(corpus):
            raise ValueError(f"{corpus}: its images have no captions, and {spec.objective.method} learns from pairs")
        self.index = Index(corpus, "train", member_of(corpus, IMAGES), "txt")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.special, _ = special_ids(folder, self.tokenizer)
        vocabulary = self.tokenizer.get_vocab_size()
        self.objective = build_pair_method(spec.objective, encoder, spec.train.seed, vocabulary, self.special)
        self.reader = open_reader(self.index, spec.train)
        assert isinstance(spec.objective, CLIP | SigLIP)
        low = spec.objective.augment.crop_low
        self.packer = PairStream(
            self.reader,
            rows=spec.train.batch,
            channels=encoder.channels,
            side=math.ceil(encoder.image_size / math.sqrt(low)),
            part=self.ranks.slice(spec.train.batch),
            tokenize=lambda texts: token_ids(self.tokenizer, texts, self.special, encoder.maximum_tokens),
        )

    def save_encoder(self, model: Any, temporary: Path) -> None:
        """``CLIPModel`` or ``SiglipModel``, ``AutoTokenizer`` and ``AutoImageProcessor`` ``.from_pretrained`` open it.

        Gristmill tokenises captions to full length, as SigLIP asks for (``padding="max_length"``).
        """
        from transformers import ViTImageProcessor

        encoder = self.spec.encoder
        assert isinstance(encoder, PairEncoder)
        Run.save_encoder(self, model, temporary)
        config = json.loads((temporary / "tokenizer_config.json").read_text())
        config["model_max_length"] = encoder.maximum_tokens
        (temporary / "tokenizer_config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
        size = {"height": encoder.image_size, "width": encoder.image_size}
        half = [0.5] * encoder.channels
        ViTImageProcessor(size=size, image_mean=half, image_std=half).save_pretrained(temporary)
