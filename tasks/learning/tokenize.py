"""Train a subword tokenizer on a corpus's train split, or take the one of the checkpoint that training continues from.

The same texts give the same bytes. The library's own WordPiece and Unigram trainers don't keep that promise (tokenizers
0.23: two runs over one text differ, since they number pieces in the order of a randomly seeded hash table); its BPE
trainer does, once it is told the alphabet. So both kinds are trained by it, with a mark before each word, and for
WordPiece the marked pieces become word beginnings and the others ``##`` continuations. There is no kind unigram.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_models.config import Tokenizer
from tasks.errors import UserError
from tasks.stages import sha256_file, sha256_json

if TYPE_CHECKING:
    import tokenizers

VERSION = 1
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_MARK = "\u2581"


def train_tokenizer(corpus: Path, config: Tokenizer, folder: Path, maximum_tokens: int = 512) -> None:
    """Fill `folder` so that ``AutoTokenizer.from_pretrained(folder)`` opens it: BERT's specials, [CLS] text [SEP].

    UserError when the corpus has no words, or the vocabulary cannot hold its alphabet.
    """
    from tokenizers import Tokenizer as Pipeline
    from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

    normalizer = normalizers.BertNormalizer(lowercase=config.lowercase)
    words = pre_tokenizers.BertPreTokenizer()
    marked = pre_tokenizers.Sequence([words, pre_tokenizers.Metaspace(replacement=_MARK, prepend_scheme="always")])
    if config.kind == "byte_bpe":
        _save(_byte_pairs(_texts(corpus, config.training_megabytes), config), folder, maximum_tokens)
        return
    texts = [normalizer.normalize_str(text) for text in _texts(corpus, config.training_megabytes)]
    alphabet = _alphabet(texts, config, corpus)

    learner = Pipeline(models.BPE(unk_token="[UNK]"))
    learner.pre_tokenizer = marked
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocabulary,
        min_frequency=config.minimum_frequency,
        special_tokens=list(SPECIAL),
        initial_alphabet=[_MARK, *alphabet],
        limit_alphabet=len(alphabet) + 1,
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)

    if config.kind == "bpe":
        pipeline, pipeline.pre_tokenizer, pipeline.decoder = learner, marked, decoders.Metaspace(replacement=_MARK)
    else:
        learnt = [piece for piece, _ in sorted(learner.get_vocab().items(), key=lambda item: item[1])]
        pieces = _word_pieces(learnt, alphabet, config.vocabulary)
        pipeline = Pipeline(
            models.WordPiece(pieces, unk_token="[UNK]", max_input_chars_per_word=config.maximum_word_characters)
        )
        pipeline.pre_tokenizer, pipeline.decoder = words, decoders.WordPiece()
    pipeline.normalizer = normalizer
    _save(pipeline, folder, maximum_tokens)


def _byte_pairs(texts: Iterator[str], config: Tokenizer) -> tokenizers.Tokenizer:
    """GPT-2's byte-level pairs: no normalisation and no unknown token, so that decoding gives the text back."""
    from tokenizers import Tokenizer as Pipeline
    from tokenizers import decoders, models, pre_tokenizers, trainers

    pipeline = Pipeline(models.BPE())
    pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pipeline.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocabulary,
        min_frequency=config.minimum_frequency,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    pipeline.train_from_iterator(texts, trainer)
    return pipeline


def copy_tokenizer(checkpoint: str, folder: Path, method: str = "mlm") -> None:
    """The tokenizer of a checkpoint (local folder or hub name), for training that continues from it by `method`."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    except (OSError, ValueError) as error:
        raise UserError(
            "no tokenizer can be read there", where=checkpoint, hint="a local folder or a hub name"
        ) from error
    if method == "clm":
        if not tokenizer.is_fast or tokenizer.eos_token_id is None:
            raise UserError("its tokenizer has no end token", where=checkpoint, hint="use a causal language model")
    elif not tokenizer.is_fast or None in (tokenizer.mask_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id):
        raise UserError(
            "its tokenizer has no [MASK], [CLS] and [SEP]", where=checkpoint, hint="use a masked-language model"
        )
    tokenizer.save_pretrained(folder)


def tokenizer_sha256(folder: Path) -> str:
    """One digest over tokenizer.json and tokenizer_config.json; UserError when they are not there."""
    paths = [folder / name for name in ("tokenizer.json", "tokenizer_config.json")]
    if missing := [path.name for path in paths if not path.is_file()]:
        raise UserError(f"there is no {missing[0]}", where=str(folder), hint="train a tokenizer first")
    return sha256_json({path.name: sha256_file(path) for path in paths})


def _texts(corpus: Path, megabytes: float) -> Iterator[str]:
    """Texts of the train split in keyed order until `megabytes` are through."""
    from ssl_models.reader import Index, Reader

    left = megabytes * 1e6
    index = Index(corpus, "train")
    with Reader(index, seed=0) as reader:
        for position in range(len(index)):
            if left <= 0:
                return
            document = reader.read(position)
            left -= len(document.text.encode())
            yield document.text


def _alphabet(texts: list[str], config: Tokenizer, corpus: Path) -> list[str]:
    """The most frequent characters, at most an eighth of the vocabulary; a word with any other becomes [UNK]."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    ranked = sorted(((-count, character) for character, count in counts.items() if not character.isspace()))
    if not ranked:
        raise UserError("the corpus has no words to train a tokenizer on", where=str(corpus))
    room = max(16, config.vocabulary // 8)
    return sorted(character for _, character in ranked[:room] if character != _MARK)


def _word_pieces(learnt: list[str], alphabet: list[str], size: int) -> dict[str, int]:
    """Specials, each character as a beginning and as a continuation, then the pieces in the order of learning."""
    pieces: dict[str, int] = {}
    candidates = [*SPECIAL, *alphabet, *(f"##{character}" for character in alphabet)]
    for piece in learnt:
        if piece not in SPECIAL and piece != _MARK:
            candidates.append(piece[1:] if piece[0] == _MARK else f"##{piece}")
    for piece in candidates:
        if piece not in pieces and len(pieces) < size:
            pieces[piece] = len(pieces)
    return pieces


def _save(pipeline: tokenizers.Tokenizer, folder: Path, maximum_tokens: int) -> None:
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    pipeline.post_processor = processors.BertProcessing(
        ("[SEP]", SPECIAL.index("[SEP]")), ("[CLS]", SPECIAL.index("[CLS]"))
    )
    folder.mkdir(parents=True, exist_ok=True)
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=pipeline,
        model_max_length=maximum_tokens,
        model_input_names=["input_ids", "attention_mask"],
        **dict(zip(names, SPECIAL, strict=True)),
    )
    wrapped.save_pretrained(folder)
