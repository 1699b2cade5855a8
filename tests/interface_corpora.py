"""A small corpus version, written by the interfaces alone (not by the code that writes real ones), and a run on it."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.curation.records import record_id
from tasks.governance.ledger import LEDGER_SCHEMA, count_verdicts, write_ledger
from tasks.governance.manifest import Counts, GateRef, Manifest, PolicyRef, ShardRef, SourceRef, leaf, merkle_root
from tasks.home import Home

POLICY = "7" * 64
JSON_KEYS = ("source", "uri", "licence", "licence_declared", "obligations", "language", "label", "group")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Corpus:
    """What was written, so that tests can ask for it back."""

    folder: Path
    manifest: Manifest
    rows: list[dict]
    texts: dict[str, str] = field(default_factory=dict)

    def ids(self, verdict: str) -> list[str]:
        return [row["record_id"] for row in self.rows if row["verdict"] == verdict]


def ledger_rows(texts: list[str], source: str) -> tuple[list[dict], dict[str, str]]:
    """Of every ten texts: one dropped as near-duplicate of the first, one quarantined, one redacted, the rest kept."""
    rows, written = [], {}
    for number, text in enumerate(texts):
        name = record_id(source, f"doc-{number}", digest(text.encode()), 0)
        row = dict.fromkeys(LEDGER_SCHEMA.names)
        row |= {"record_id": name, "source": source, "uri": f"mem://{source}/doc-{number}", "policy_sha256": POLICY}
        row |= {
            "content_sha256": digest(text.encode()),
            "licence": "MIT",
            "licence_declared": "MIT License",
            "language": "en",
        }
        row |= {"verdict": "keep", "rules": [], "spans": []}
        if number % 10 == 7:
            row |= {"verdict": "quarantine", "rule": "licence.unknown", "rules": ["licence.unknown"], "licence": ""}
        elif number % 10 == 8:
            row |= {
                "verdict": "drop",
                "rule": "duplicate.near",
                "rules": ["duplicate.near"],
                "value": 0.9,
                "threshold": 0.8,
            }
            row |= {"survivor_id": rows[0]["record_id"], "similarity": 0.9}
        else:
            if number % 10 == 9:
                row["verdict"] = "redact"
                row["spans"] = [{"type": "email", "start": 0, "end": 3, "action": "redact", "value_hmac": "0" * 32}]
            row |= {"sample_sha256": digest(text.encode()), "split": "validation" if number % 10 == 6 else "train"}
            written[name] = text
        rows.append(row)
    return rows, written


def write_corpus(home: Home, texts: list[str], name: str = "tiny", version: int = 1, source: str = "docs") -> Corpus:
    """``corpora/NAME/vN`` with one shard a split and half of the id space, index, ledger, gate, policy and manifest."""
    import webdataset

    folder = home.corpus(name) / f"v{version}"
    for part in ("shards", "index"):
        (folder / part).mkdir(parents=True)
    rows, written = ledger_rows(texts, source)
    by_id = {row["record_id"]: row for row in rows}
    shards = []
    placed: dict[str, list[str]] = {}
    for key in sorted(written):
        half = hashlib.sha256(key.encode()).digest()[0] >> 7
        placed.setdefault(f"{by_id[key]['split']}-{half:06d}", []).append(key)
    for shard, keys in sorted(placed.items()):
        path, index = folder / "shards" / f"{shard}.tar", []
        with open(path, "wb") as file:
            tar = webdataset.TarWriter(file, user="", group="", mode=0o644, mtime=0)
            at = 0  # the writer buffers: the file's own position lags behind
            for key in keys:
                about = {"id": key} | {k: by_id[key].get(k) or "" for k in JSON_KEYS}
                members = {"json": json.dumps(about).encode(), "txt": written[key].encode()}
                tar.write({"__key__": key, **members})
                line = {"key": key, "offset": at, "length": 0, "sha256": digest(members["txt"])}
                for extension, payload in members.items():
                    line |= {f"{extension}.offset": at + 512, f"{extension}.length": len(payload)}
                    at += 512 + -(-len(payload) // 512) * 512
                line["length"] = at - line["offset"]
                by_id[key] |= {"shard": shard, "offset": line["offset"], "length": line["length"]}
                index.append(line)
            tar.close()
        data = path.read_bytes()
        shards.append(
            ShardRef(name=shard, split=shard.split("-")[0], sha256=digest(data), bytes=len(data), samples=len(keys))
        )
        table = pa.Table.from_pylist(index)
        with pa.ipc.new_file(folder / "index" / f"{shard}.idx", table.schema) as writer:
            writer.write_table(table)
    table = pa.Table.from_pylist(rows, schema=LEDGER_SCHEMA)
    ledger = write_ledger(table, folder / "ledger")
    for evidence, value in (("gate.json", {"passed": True}), ("policy.json", {"name": "open"})):
        (folder / evidence).write_text(json.dumps(value))
    leaves = [leaf(key, by_id[key]["sample_sha256"], "MIT") for key in sorted(written)]
    splits = [by_id[key]["split"] for key in written]
    manifest = Manifest(
        name=name, version=version, parent=None, root=merkle_root(leaves), inputs_sha256="1" * 64,
        policy=PolicyRef(name="open", sha256=POLICY), recipe_sha256="2" * 64, steps={"ingest": 1},
        counts=Counts(read=len(rows), **count_verdicts(table)),
        sources=[SourceRef(name=source, digest="3" * 64, records=len(rows), bytes=sum(map(len, texts)))],
        splits={split: splits.count(split) for split in ("train", "validation")},
        shard_counts={"train": 2, "validation": 2}, shards=shards,
        ledger={ledger.name: digest(ledger.read_bytes())},
        evidence={"policy.json": digest((folder / "policy.json").read_bytes())},
        gate=GateRef(passed=True, sha256=digest((folder / "gate.json").read_bytes())),
    )  # fmt: skip
    manifest.write(folder)
    return Corpus(folder, manifest, sorted(rows, key=lambda row: row["record_id"]), written)


def write_run(
    home: Home, corpus: Corpus, run_id: str = "tiny-0123456789ab", steps: int = 30, encoder: bool = True
) -> Path:
    """A finished run that read the corpus's training documents, with a real (untrained) encoder."""
    folder = home.run(run_id)
    folder.mkdir(parents=True)
    manifest = corpus.manifest
    state = {
        "status": "finished",
        "corpus": f"{manifest.name}@v{manifest.version}",
        "seed": 1,
        "result": {"steps": steps},
    }
    (folder / "run.json").write_text(json.dumps(state))
    always = {"grad_norm": 1.0, "learning_rate": 1e-3, "starved_percent": 0.5}
    lines = [
        {"step": step, "loss": 5.0 - step / 100, "tokens_per_second": 900.0 + step, "tokens": step * 64}
        | {"seconds": step / 10, "health/rank_me": 3.0 + step, **always}
        for step in range(1, steps + 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    train = [row["record_id"] for row in corpus.rows if row["split"] == "train"]
    exposure = {"record_id": pa.array(train), "first_step": pa.array([number % steps for number in range(len(train))])}
    pq.write_table(pa.table(exposure), folder / "exposure.parquet")
    if encoder:
        write_encoder(folder / "encoder")
    return folder


def write_encoder(folder: Path) -> None:
    """A one-layer BERT over single letters, as `from_pretrained` opens it."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    tokenizer = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    specials = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=specials)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertModel(
            BertConfig(
                vocab_size=len(pieces), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                max_position_embeddings=32,
            )
        )  # fmt: skip
    model.save_pretrained(folder)
    names = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=32, **names).save_pretrained(folder)
