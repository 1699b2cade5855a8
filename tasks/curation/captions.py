"""Measures of the text beside an image or a clip: is there one, and how long is it?"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from data_policies.media_measures import MEDIA_MEASURES
from data_policies.media_rules import GIVEN
from tasks.curation.quality import Text

MEASURED = tuple(name for name in MEDIA_MEASURES["pair"] if name != "score")  # which a model gives


class Captions:
    """Scorer of ``caption.given`` and of ``pair.words`` and ``pair.characters`` (0 where there is no text).

    Words are those of the quality measures: a Chinese caption has some, too.
    """

    name = "captions"
    VERSION = 1
    inputs = ("text",)
    schema = pa.schema([(GIVEN, pa.bool_()), *((f"pair.{name}", pa.float64()) for name in MEASURED)])

    def config(self) -> dict[str, Any]:
        """The measures by name."""
        return {"measures": list(MEASURED)}

    def score(self, batch: pa.Table) -> pa.Table:
        """The columns of `schema` for each row of ``text``."""
        rows = [self._measure(text) for text in batch["text"].to_pylist()]
        return pa.table([list(column) for column in zip(*rows, strict=True)], schema=self.schema)

    def _measure(self, text: str | None) -> tuple[bool, float, float]:
        if text is None:
            return False, 0.0, 0.0
        found = Text(text)
        return True, found.spaced_words + found.unspaced_words, float(len(text.strip()))
