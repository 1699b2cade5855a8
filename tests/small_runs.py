"""A miniature pretraining run for the tests: a small language, a word-level tokenizer, a ModernBERT of two layers."""

from pathlib import Path

from small_corpora import keyed_texts, write_corpus

from ssl_models.config import CorpusRef, MaskedLanguageModelling, Objective, TextEncoder, Train, TrainSpec
from tasks.stages import sha256_file

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def write_tokenizer(folder: Path, texts: dict[str, str]) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = SPECIAL + sorted({word for text in texts.values() for word in text.split()})
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **dict(zip(names, SPECIAL, strict=True))).save_pretrained(
        folder
    )
    return folder


def small_spec(
    folder: Path, documents: int = 200, encoder: dict | None = None, objective: Objective | None = None, **train
) -> TrainSpec:
    """A spec whose corpus, tokenizer and run folder lie below `folder`; made once, then found again."""
    texts = keyed_texts(documents)
    if not (folder / "tokenizer").exists():
        write_corpus(folder / "corpus", texts, shards=2)
        write_tokenizer(folder / "tokenizer", texts)
    settings = {"steps": 20, "batch": 4, "sequence_length": 32, "learning_rate": 3e-3, "warmup_steps": 2, "threads": 1}
    settings |= {"checkpoint_every_steps": 8, "log_every_steps": 4, "precision": "float32"}
    return TrainSpec(
        run_id="small-0123456789ab",
        recipe="small",
        recipe_sha256="0" * 64,
        folder=str(folder / "run"),
        tokenizer_folder=str(folder / "tokenizer"),
        tokenizer_sha256=sha256_file(folder / "tokenizer" / "tokenizer.json"),
        corpus=CorpusRef(name="small", version=1, root="ab" * 32, folder=str(folder / "corpus")),
        encoder=TextEncoder(**{"layers": 2, "width": 32, "heads": 2, "maximum_tokens": 64, **(encoder or {})}),
        objective=objective or MaskedLanguageModelling(),
        train=Train(**{**settings, **train}),
    )
