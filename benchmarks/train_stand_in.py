"""Train the shipped toxicity stand-in: a small BERT that imitates a Detoxify checkpoint.

    python -m benchmarks.train_stand_in --teacher FOLDER [--out tasks/curation/stand_in] [--seed 0]

Text: a grammar (toxicity_grammar.py), and docstrings of installed distributions whose License-Expression is MIT, BSD or
Apache-2.0. Nothing else is read; the sets that toxicity_auc.py measures on are never seen.

Labels: the teacher's six probabilities, made comparable by Platt scaling on the sentences whose kind the grammar knows
(Platt 1999), then mixed with what the grammar meant. Paragraphs of harmless sentences, and docstrings without an
offensive word, are harmless without asking. Sentences with one offensive word put in, and sentences among strange
words, have the label that the grammar knows.
Loss: binary cross-entropy on these soft labels (Hinton et al. 2015). The word embeddings start as the teacher's own,
projected on their first principal components.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.metadata
import json
import random
import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import BertWordPieceTokenizer
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

from benchmarks.toxicity_grammar import Grammar
from benchmarks.toxicity_harmless import LABELS, NEUTRAL, OBSCENE, SEXUAL, SLURS
from tasks.curation.toxicity_checkpoint import OpenModel, open_model
from tasks.curation.toxicity_models import find

PERMISSIVE = {"MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "MIT License", "BSD-3-Clause AND MIT"}
VOCABULARY, WIDTH, MAX_TOKENS = 4096, 64, 128
OFFENSIVE = re.compile(r"\b(" + "|".join([*OBSCENE, *SEXUAL, *SLURS]) + r")(s|es|ed|ing|er|ers)?\b", re.IGNORECASE)
OFFENSIVE_START = re.compile(r"\b(" + "|".join([*OBSCENE, *SEXUAL, *SLURS]) + r")", re.IGNORECASE)
MEANT = 0.85  # the weight of the grammar's own label against the teacher's
PRIOR = 0.1  # the share of toxic text that the teacher's probabilities are scaled to; half of the grammar's is
HARMLESS = 0.01  # the target of text that is known to be harmless


def docstrings() -> list[str]:
    """Distinct docstrings of permissively licensed installed distributions, sorted."""
    found = set()
    for distribution in importlib.metadata.distributions():
        if distribution.metadata.get("License-Expression") not in PERMISSIVE:
            continue
        for file in distribution.files or ():
            if file.suffix == ".py":
                found.update(_docstrings_of(Path(str(distribution.locate_file(file)))))
    return sorted(found)


def _docstrings_of(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text and len(text) > 20:
                yield text


def cut(text: str, generator: random.Random, words: int) -> str:
    """A run of at most `words` words from anywhere in the text."""
    parts = text.split(" ")
    start = generator.randrange(max(1, len(parts) - words + 1))
    return " ".join(parts[start : start + words])


def collect(arguments: argparse.Namespace, vocabulary: list[str], documents: list[str]) -> tuple[list[str], np.ndarray]:
    """The training texts, and (N, 6) what was meant by each (NaN: nobody knows)."""
    generator, grammar = random.Random(arguments.seed), Grammar(arguments.seed, vocabulary)
    unknown = (float("nan"),) * len(LABELS)
    rows: dict[str, tuple[float, ...]] = {}
    while len(rows) < arguments.sentences:
        text, meant = grammar.sentence()
        if generator.random() < 0.2:  # inside a paragraph: a window is as toxic as its worst sentence
            parts = [grammar.everyday()[0] if generator.random() < 0.5 else grammar.technical()[0] for _ in range(3)]
            if generator.random() < 0.5:
                parts = [cut(generator.choice(documents), generator, generator.randint(10, 40))]
                if OFFENSIVE_START.search(parts[0]):
                    continue  # rather one too many: the context must be beyond doubt
            parts.insert(generator.randint(0, len(parts)), text)
            text = " ".join(parts)
        rows[text] = meant
    while len(rows) < arguments.sentences + arguments.unmeant:
        rows[grammar.unmeant()] = unknown
    for text in generator.sample(documents, min(arguments.docstrings, len(documents))):
        piece = cut(text, generator, generator.choice([12, 25, 60]))
        rows[piece] = unknown if OFFENSIVE.search(piece) else NEUTRAL
    return list(rows), np.array(list(rows.values()))


def collect_sure(arguments: argparse.Namespace, vocabulary: list[str], documents: list[str]) -> list[tuple[str, tuple]]:
    """Texts and targets that need no teacher: paragraphs of the grammar, the same with an offensive word put in,
    sentences among strange words, and stretches of docstrings without an offensive word."""
    generator, grammar = random.Random(arguments.seed + 1), Grammar(arguments.seed + 1, vocabulary)
    harmless = (HARMLESS,) * len(LABELS)
    rows = [(grammar.paragraph(), harmless) for _ in range(arguments.paragraphs)]
    rows += [grammar.profane() for _ in range(arguments.profane)]
    rows += [grammar.among_strangers() for _ in range(arguments.strangers)]
    drawn = generator.sample(documents, min(arguments.windows, len(documents)))
    return [*rows, *((cut(text, generator, 70), harmless) for text in drawn if not OFFENSIVE.search(text))]


def ask(teacher: OpenModel, texts: list[str], cache: Path | None) -> np.ndarray:
    """(N, 6) the teacher's logits on the first 64 tokens of each text. `cache`: an .npz kept between attempts."""
    known: dict[str, np.ndarray] = {}
    keys = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    if cache and cache.exists():
        kept = np.load(cache)
        known = dict(zip(kept["keys"].tolist(), kept["logits"], strict=True))
    new = [row for row, key in enumerate(keys) if key not in known]
    teacher.tokenizer.enable_truncation(max_length=min(64, teacher.max_tokens))
    encoded = {row: teacher.tokenizer.encode(texts[row]).ids for row in new}
    new.sort(key=lambda row: len(encoded[row]))
    columns = [teacher.classes.index(label) for label in LABELS]
    started = time.process_time()
    for start in range(0, len(new), 64):
        rows = new[start : start + 64]
        ids, mask = pad([encoded[row] for row in rows], teacher.pad_id)
        with torch.inference_mode():
            logits = teacher.model(input_ids=ids, attention_mask=mask).logits[:, columns].numpy()
        known.update(zip([keys[row] for row in rows], logits, strict=True))
        if start % 6400 == 0:
            print(f"teacher {start}/{len(new)} {time.process_time() - started:.0f} CPU-s", flush=True)
    if cache:
        np.savez(cache, keys=np.array(list(known)), logits=np.stack(list(known.values())))
    return np.stack([known[key] for key in keys])


def pad(rows: list[list[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(R, T) ids and attention mask."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([row + [pad_id] * (width - len(row)) for row in rows])
    return ids, torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])


def targets(logits_NL: np.ndarray, meant_NL: np.ndarray) -> np.ndarray:
    """The teacher's probabilities after Platt scaling, mixed with what was meant where somebody knows."""
    from sklearn.linear_model import LogisticRegression

    known = ~np.isnan(meant_NL[:, 0])
    result = np.zeros_like(logits_NL)
    for column in range(len(LABELS)):
        toxic = meant_NL[known, column] > 0.5
        weight = np.where(toxic, PRIOR / toxic.mean(), (1 - PRIOR) / (1 - toxic.mean()))
        platt = LogisticRegression().fit(logits_NL[known, column, None], toxic, sample_weight=weight)
        result[:, column] = platt.predict_proba(logits_NL[:, column, None])[:, 1]
    result[known] = MEANT * meant_NL[known] + (1 - MEANT) * result[known]
    harmless = known & (meant_NL.sum(1) == 0)
    result[harmless] = np.minimum(result[harmless], 0.05)
    return result


def train_tokenizer(texts: list[str], documents: list[str], folder: Path) -> BertTokenizer:
    """4,096 lower-cased word pieces; offensive words are whole pieces, so that they are seen as words."""
    pieces = BertWordPieceTokenizer(lowercase=True)
    words = [" ".join([*OBSCENE, *SEXUAL, *SLURS])] * 3000
    pieces.train_from_iterator(
        [*texts, *documents, *words], vocab_size=VOCABULARY, min_frequency=2, show_progress=False
    )
    tokenizer = BertTokenizer(vocab=pieces.get_vocab(), do_lower_case=True, model_max_length=MAX_TOKENS)
    tokenizer.save_pretrained(folder)
    return tokenizer


def project(teacher: OpenModel, tokenizer: BertTokenizer) -> torch.Tensor:
    """(4096, 64): each piece's mean teacher embedding, on the first 64 principal components, at BERT's scale."""
    table = teacher.model.get_input_embeddings().weight.detach()
    pieces = tokenizer.convert_ids_to_tokens(range(VOCABULARY))
    teacher.tokenizer.no_truncation()
    rows = teacher.tokenizer.encode_batch([piece.removeprefix("##") for piece in pieces], add_special_tokens=False)
    vectors = torch.stack([table[row.ids].mean(0) if row.ids else table.mean(0) for row in rows])
    vectors = vectors - vectors.mean(0)
    _, _, components = torch.linalg.svd(vectors, full_matrices=False)
    projected = vectors @ components[:WIDTH].T
    return projected / projected.std() * 0.05


def train(arguments: argparse.Namespace, tokenizer, embeddings, texts: list[str], targets_NL: np.ndarray):
    """AdamW, linear warm-up and decay, batches of texts of similar length."""
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128,
        max_position_embeddings=MAX_TOKENS, type_vocab_size=1, pad_token_id=tokenizer.pad_token_id,
        id2label=dict(enumerate(LABELS)), label2id={label: i for i, label in enumerate(LABELS)},
        problem_type="multi_label_classification", hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = BertForSequenceClassification(config).train()
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight.copy_(embeddings)
    encoded = [row[:MAX_TOKENS] for row in tokenizer(texts, truncation=True)["input_ids"]]
    goal_NL = torch.tensor(targets_NL, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.learning_rate, weight_decay=0.01)
    generator = random.Random(arguments.seed)
    size, steps, step = 128, arguments.epochs * (len(texts) // 128), 0
    started = time.process_time()
    for epoch in range(arguments.epochs):
        order = sorted(range(len(texts)), key=lambda row: len(encoded[row]) + generator.random() * 8)
        batches = [order[at : at + size] for at in range(0, len(order) - size + 1, size)]
        generator.shuffle(batches)
        losses = []
        for rows in batches:
            for group in optimizer.param_groups:
                group["lr"] = arguments.learning_rate * min(1, (step + 1) / 200, 1.02 - step / steps)
            ids, mask = pad([encoded[row] for row in rows], config.pad_token_id)
            loss = binary_cross_entropy_with_logits(model(input_ids=ids, attention_mask=mask).logits, goal_NL[rows])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
            step += 1
        print(f"epoch {epoch} loss {np.mean(losses):.4f} {time.process_time() - started:.0f} CPU-s", flush=True)
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True, help="folder of a Detoxify checkpoint, or a name under --models")
    parser.add_argument("--models", type=Path, help="where published Detoxify models were downloaded to")
    parser.add_argument("--out", type=Path, default=Path("tasks/curation/stand_in"))
    parser.add_argument("--cache", type=Path, help="keep the teacher's answers here between attempts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sentences", type=int, default=36_000)
    parser.add_argument("--unmeant", type=int, default=12_000)
    parser.add_argument("--docstrings", type=int, default=9_000)
    parser.add_argument("--paragraphs", type=int, default=9_000)
    parser.add_argument("--profane", type=int, default=9_000, help="prose with an offensive word put in")
    parser.add_argument("--strangers", type=int, default=25_000, help="sentences among strange words")
    parser.add_argument("--windows", type=int, default=22_000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    teacher = open_model(find(arguments.teacher, arguments.models))
    vocabulary = sorted(word for word in teacher.tokenizer.get_vocab() if re.fullmatch(r"[a-z]{3,12}", word))
    documents = docstrings()
    texts, meant_NL = collect(arguments, vocabulary, documents)
    print(f"{len(texts)} texts, {len(documents)} docstrings, {len(vocabulary)} words", flush=True)
    targets_NL = targets(ask(teacher, texts, arguments.cache), meant_NL)
    sure = collect_sure(arguments, vocabulary, documents)
    texts = [*texts, *(text for text, _ in sure)]
    targets_NL = np.concatenate([targets_NL, np.array([labels for _, labels in sure])])
    tokenizer = train_tokenizer(texts, documents, arguments.out)
    model = train(arguments, tokenizer, project(teacher, tokenizer), texts, targets_NL)
    state = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, arguments.out / "model.safetensors")
    model.config.architectures = ["BertForSequenceClassification"]
    model.config.save_pretrained(arguments.out)
    sizes = {path.name: path.stat().st_size for path in sorted(arguments.out.iterdir())}
    print(json.dumps({"sizes": sizes, "total": sum(sizes.values()), "cpu_seconds": round(time.process_time())}))


if __name__ == "__main__":
    main()
