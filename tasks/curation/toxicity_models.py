"""Where a toxicity model comes from, and how it is opened: its digest first, then its bytes, then Detoxify's own code.

Three kinds: the stand-in that ships with Gristmill, Detoxify's published checkpoints (downloaded once, when asked for),
and a folder with a checkpoint of one's own in Detoxify's format.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import UserError
from tasks.stages import sha256_file, sha256_json

STAND_IN = "stand-in"
STAND_IN_FOLDER = Path(__file__).parent / "stand_in"
STAND_IN_SHA256 = {
    "weights": "bc6ca1f734e3cb0874ffa84d2702d74231cb43e231c1e46f480b91c989e2ada8",
    "config.json": "6501698265e13e0499b21bab0718cdd48145504fbb35d3862138237a0291a9b1",
    "tokenizer.json": "f3e58cb23586aee4e66370c574ab0c5cfa43b3c590c3ab3688c58a16305c2f9c",
    "tokenizer_config.json": "a0781f296480fcf315b73a3b95e8a057bda19705b53c49530675660cb34d8888",
}

#: What a tokenizer and a configuration may consist of; anything else beside them is not read.
CONFIG_FILES = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model",
)  # fmt: skip
PINS = "pins.json"  # what a download was when it came: it must stay that


@dataclass(frozen=True)
class Published:
    """One of Detoxify's checkpoints: its address, its SHA-256 (or the 8 hex that its name carries), and its backbone.

    Detoxify takes configuration and tokenizer from the backbone's page; `revision` is the git commit there.
    """

    url: str
    sha256: str
    backbone: str
    revision: str
    files: dict[str, str]  # file name: SHA-256, "" when only the revision pins it

    @property
    def file_name(self) -> str:
        return self.url.rsplit("/", 1)[1]


_RELEASES = "https://github.com/unitaryai/detoxify/releases/download/"
_HUB = "https://huggingface.co/{backbone}/resolve/{revision}/{name}"
_BERT = {
    "config.json": "7160e1553ad2ca51d8c1cb066be533db31826e12d173824c1bb0cb1a4f187d20",
    "tokenizer.json": "ce64fce797c24f68df90b40a3f74f579b336a493db14bd583fd520ea0d8c9a98",
    "tokenizer_config.json": "a025160ef0431f1a392f6f050c1310f4c5d9fb6f275932dbccba73c4d214bf10",
}
_JSON = {"config.json": "", "tokenizer.json": "", "tokenizer_config.json": ""}
_ALBERT = ("albert/albert-base-v2", "8e2f239c5f8a2c0f253781ca60135db913e5c80c", _JSON)
PUBLISHED = {
    "original": Published(
        _RELEASES + "v0.1-alpha/toxic_original-c1212f89.ckpt",
        "c1212f89ac23307ab33932ce29dc446a6e030fb3f384a500890bbe662b7b544a",
        "google-bert/bert-base-uncased", "86b5e0934494bd15c9632b12f734a8a67f723594", _BERT,
    ),
    "unbiased": Published(
        _RELEASES + "v0.3-alpha/toxic_debiased-c7548aa0.ckpt", "c7548aa0",
        "FacebookAI/roberta-base", "e2da8e2f811d1448a5b465c236feacd80ffbac7b", _JSON,
    ),
    "multilingual": Published(
        _RELEASES + "v0.4-alpha/multilingual_debiased-0b549669.ckpt", "0b549669",
        "FacebookAI/xlm-roberta-base", "e73636d4f797dec63c3081bb6ed5c7b0bb3f2089", _JSON,
    ),
    "original-small": Published(_RELEASES + "v0.1.2/original-albert-0e1d6498.ckpt", "0e1d6498", *_ALBERT),
    "unbiased-small": Published(_RELEASES + "v0.1.2/unbiased-albert-c8519128.ckpt", "c8519128", *_ALBERT),
}  # fmt: skip


class NoModel(Exception):
    """The model is not on this machine, and getting it was not allowed or did not work; the message says what to do."""


@dataclass(frozen=True)
class ModelFiles:
    """A model on disk: its weights, the folder of its configuration and tokenizer, and the SHA-256 of each file.

    `sha256` has the key ``weights`` and one key a configuration file; names of folders do not count.
    """

    name: str
    weights: Path
    config: Path
    sha256: dict[str, str]

    @property
    def digest(self) -> str:
        """16 hex over the SHA-256 of every file: what `scored_by` says."""
        return sha256_json(self.sha256)[:16]

    def check(self) -> None:
        """Read the files once more; UserError when one is no longer what it was."""
        for name, expected in self.sha256.items():
            path = self.weights if name == "weights" else self.config / name
            _require(path, expected)


def _require(path: Path, expected: str) -> str:
    """The file's SHA-256; UserError unless it starts with `expected` (all of it, or the 8 hex of a name)."""
    found = sha256_file(path)
    if not found.startswith(expected):
        raise UserError(
            f"the SHA-256 of the toxicity model's file is {found}, not {expected}: it was not opened",
            where=str(path),
            hint="delete the file and get it again from where it is published",
        )
    return found


def _measure(name: str, weights: Path, config: Path, pins: dict[str, str]) -> ModelFiles:
    """Hash every file; UserError on the first that differs from its pin."""
    present = {file: config / file for file in CONFIG_FILES if (config / file).is_file()}
    if "config.json" not in present:
        raise UserError(
            "the toxicity model has no config.json",
            where=str(config),
            hint="put the configuration and the tokenizer there",
        )
    paths = {"weights": weights, **present}
    for file in pins:
        if file not in paths:
            raise UserError(
                f"the toxicity model lacks {file}", where=str(config), hint="delete the folder, get it again"
            )
    return ModelFiles(name, weights, config, {file: _require(path, pins.get(file, "")) for file, path in paths.items()})


def find(model: str, models: Path | None = None, allow_download: bool = False) -> ModelFiles:
    """The files of `model`: ``stand-in``, one of Detoxify's names (kept under `models`), or a path.

    Opens none of them. Raises NoModel when a published model is not here and may not be (or could not be) downloaded;
    UserError when a path or a name is wrong or a digest differs from its pin.
    """
    if model == STAND_IN:
        return _measure(model, STAND_IN_FOLDER / "model.safetensors", STAND_IN_FOLDER, STAND_IN_SHA256)
    if model in PUBLISHED:
        return _published(model, PUBLISHED[model], models, allow_download)
    path = Path(model)
    if not path.exists():
        allowed = ", ".join((STAND_IN, *PUBLISHED))
        raise UserError(
            f"no toxicity model {model!r}", hint=f"allowed: {allowed}, or the path of a checkpoint's folder"
        )
    return _local(path)


def _local(path: Path) -> ModelFiles:
    """A folder with one ``*.ckpt`` (or the checkpoint itself), and its configuration there or one folder below."""
    folder = path if path.is_dir() else path.parent
    checkpoints = sorted(folder.glob("*.ckpt")) if path.is_dir() else [path]
    if len(checkpoints) != 1:
        raise UserError(
            f"{len(checkpoints)} checkpoints (*.ckpt) where one is expected",
            where=str(path),
            hint="name the file itself",
        )
    configs = [place for place in (folder, *sorted(folder.iterdir())) if (place / "config.json").is_file()]
    if len(configs) != 1:
        raise UserError(
            f"{len(configs)} configurations (config.json) beside the checkpoint where one is expected",
            where=str(folder),
            hint="put config.json and the tokenizer's files into one folder beside the checkpoint, such as hf/",
        )
    return _measure(str(path), checkpoints[0].absolute(), configs[0].absolute(), {})


def _published(name: str, spec: Published, models: Path | None, allow_download: bool) -> ModelFiles:
    folder = models / f"detoxify-{name}" if models else None
    if folder is None or not (folder / PINS).is_file():
        if not allow_download or folder is None:
            where = f" into {folder}" if folder else ""
            raise NoModel(
                f"the Detoxify model '{name}' is not here and its download{where} is not allowed; "
                f"allow it, or name a folder with a checkpoint, or let the policy use the stand-in (stand_in: true)"
            )
        _download(name, spec, folder)
    pins = json.loads((folder / PINS).read_text())
    if not str(pins.get("weights")).startswith(spec.sha256):
        raise UserError(
            "the recorded digest is not the published one", where=str(folder / PINS), hint="delete the folder"
        )
    return _measure(name, folder / spec.file_name, folder / "hf", pins)


def _download(name: str, spec: Published, folder: Path) -> None:
    """Fetch checkpoint, configuration and tokenizer; what came is pinned in ``pins.json``, written last."""
    from torch.hub import download_url_to_file

    (folder / "hf").mkdir(parents=True, exist_ok=True)
    addresses = {
        file: (_HUB.format(backbone=spec.backbone, revision=spec.revision, name=file), folder / "hf" / file, pin)
        for file, pin in spec.files.items()
    }
    addresses["weights"] = (spec.url, folder / spec.file_name, spec.sha256)
    pins = {}
    for file, (url, path, pin) in addresses.items():
        try:
            if not path.is_file():
                download_url_to_file(url, str(path), hash_prefix=pin or None, progress=path.suffix == ".ckpt")
        except (OSError, RuntimeError) as error:  # no network, an HTTP error, or another digest than the pinned one
            raise NoModel(
                f"the Detoxify model '{name}' could not be downloaded ({type(error).__name__} for {url}); "
                f"put the file at {path}, or let the policy use the stand-in (stand_in: true)"
            ) from error
        pins[file] = _require(path, pin)
    temporary = folder / f".{PINS}.{os.getpid()}.tmp"
    temporary.write_text(json.dumps(pins, indent=1, sort_keys=True))
    os.replace(temporary, folder / PINS)
