"""The measures of the rule sets that made the open web corpora: Gopher (quality and repetition), C4 and FineWeb.

Three programs under the name Gopher count three things (mean or median, distinct or all stop words); these are counted
as datatrove 0.10 does, on the words of spaCy's English tokenizer, and with its thresholds (data_policies/measures.py)
they give its verdicts. Where datatrove divides by zero or stops early, a measure here is 0.

Rae et al. 2021 (Gopher, section A1.1); Raffel et al. 2020 (C4, section 2.2); Penedo et al. 2024 (FineWeb, section 3.6).
"""

from __future__ import annotations

import re

import numpy as np

from tasks.curation.ngrams import repeated_characters
from tasks.curation.tokenised import ALPHABETIC, SIGN, STOP_WORDS, Tokenised

#: Signs at which a line ends properly, in any script: the full stops that Unicode calls sentence terminals.
TERMINAL = frozenset(
    "!.?։؝؞؟۔܀܁܂߹࠷࠹࠽࠾।॥၊။።፧፨᙮᜵᜶។៕៖៚᠃᠉᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᭽᭾᰻᰼᱾᱿‼‽⁇⁈⁉⸮⸼⹔。꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫﹒﹖﹗！．？｡𐩖𐩗𐽖𐽗𐽘𐽙𐾆𐾇𐾈𐾉𑁇𑁈"
    "𑂾𑂿𑃀𑃁𑅁𑅂𑅃𑇅𑇆𑇍𑇞𑇟𑈸𑈹𑈻𑈼𑊩𑑋𑑌𑗂𑗃𑗉𑗊𑗋𑗌𑗍𑗎𑗏𑗐𑗑𑗒𑗓𑗔𑗕𑗖𑗗𑙁𑙂𑜼𑜽𑜾𑥄𑥆𑩂𑩃𑪛𑪜𑱁𑱂𑻷𑻸𑽃𑽄𖩮𖩯𖫵𖬷𖬸𖭄𖺘𛲟𝪈"
)
SHORT_LINE, LONG_WORD, LINE_WORDS = 30, 1_000, 3
_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
_POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
_ENDS = (".", "?", "!", '"', "'")


def _share(part, whole) -> np.ndarray:
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _repeats(parts: list[str]) -> tuple[int, int]:
    """How many of `parts` repeat an earlier one, and their characters."""
    distinct = set(parts)
    if len(distinct) == len(parts):
        return 0, 0
    return len(parts) - len(distinct), sum(map(len, parts)) - sum(map(len, distinct))


def gopher_quality(batch: Tokenised) -> tuple[np.ndarray, ...]:
    """``words``: those that are not signs alone; ``mean_word_length``: their characters; ``hash_word_ratio``,
    ``ellipsis_word_ratio``: "#", and "..." or "…", a word; ``bullet_line_ratio``, ``ellipsis_line_ratio``: lines that
    begin with • or -, that end with an ellipsis; ``alphabetic_word_ratio``: words with a letter, of all words;
    ``stop_words``: how many of the, be, to, of, and, that, have, with are there, as written."""
    word_T = (batch.kind_T & SIGN) == 0
    number = batch.total(word_T)
    hashes, ellipses, bullets, ends, lines = [], [], [], [], []
    for text, stripped in zip(batch.texts, batch.lines_D, strict=True):
        dots = text.count("...") + text.count("…")
        hashes.append(text.count("#"))
        ellipses.append(dots)
        first = [line[:1] for line in stripped]
        bullets.append(first.count("•") + first.count("-"))
        ends.append(sum(line.endswith(("...", "…")) for line in stripped) if dots else 0)
        lines.append(len(stripped))
    stops = sum(batch.total((batch.kind_T >> (16 + i)) & 1) > 0 for i in range(len(STOP_WORDS)))
    return (
        number.astype(float),
        _share(batch.total(batch.length_T * word_T), number),
        _share(hashes, batch.words_D),
        _share(ellipses, batch.words_D),
        _share(bullets, lines),
        _share(ends, lines),
        _share(batch.total((batch.kind_T & ALPHABETIC) != 0), batch.words_D),
        np.asarray(stops, float),
    )


def gopher_repetition(batch: Tokenised) -> tuple[np.ndarray, ...]:
    """Lines (cut at runs of newlines) and paragraphs (at two or more) that repeat an earlier one: their share, and the
    share of their characters in the text; then the shares of characters in the most frequent 2-, 3- and 4-gram, and in
    repeated 5- to 10-grams."""
    rows = []
    for text in batch.texts:
        pieces = text.split("\n")
        lines = [line for line in pieces if line]
        edges = [""] * ((text[:1] == "\n") + (text[-1:] == "\n" and bool(lines)))  # empty pieces at the text's ends
        # As a split at runs of two and more newlines, in a tenth of the time.
        paragraphs = [part for piece in text.strip().split("\n\n") if (part := piece.lstrip("\n"))] or [""]
        rows.append((len(lines) + len(edges), *_repeats(lines + edges), len(paragraphs), *_repeats(paragraphs)))
    lines_D, line_D, line_characters_D, paragraphs_D, paragraph_D, paragraph_characters_D = (
        np.array(rows, np.int64).reshape(-1, 6).T
    )
    size_D = np.fromiter(map(len, batch.texts), np.int64, len(batch.texts))
    ngrams = repeated_characters(batch)
    return (
        _share(line_D, lines_D),
        _share(paragraph_D, paragraphs_D),
        _share(line_characters_D, size_D),
        _share(paragraph_characters_D, size_D),
        *(_share(ngrams[n], size_D) for n in range(2, 11)),
    )


def c4(batch: Tokenised) -> tuple[np.ndarray, ...]:
    """C4 takes lines out and then judges what is left. ``sentences``: in the lines left; ``lorem_ipsum``,
    ``curly_bracket``: lines with either, among those that end properly and are long enough; ``dropped_line_ratio``: of
    all lines, those that would go (no full stop, a word over 1,000 characters, under 3 words, JavaScript, a notice of
    cookies or terms)."""
    sentences_L = batch.sentences_L()
    kept_L = np.zeros(len(batch.chunks_L), bool)
    sentences, lorem, curly, kept, lines = [], [], [], [], []
    for text, stripped, first in zip(batch.texts, batch.lines_D, batch.line_numbers_D.tolist(), strict=False):
        low = text.lower()
        suspect = "javascript" in low or "lorem ipsum" in low or any(phrase in low for phrase in _POLICY)
        cited, extra, found_lorem, found_curly, left = "[" in text, 0, 0, 0, 0
        for number, line in enumerate(stripped, first):
            raw = line
            if cited and "[" in line:
                line = _CITATION.sub("", line)
            if not line.endswith(_ENDS) or line.endswith("...") or batch.chunks_L[number] < LINE_WORDS:
                continue
            if len(raw) > LONG_WORD and max(map(len, raw.split())) > LONG_WORD:
                continue
            if suspect:
                lower = line.lower()
                found_lorem += "lorem ipsum" in lower
                if "javascript" in lower or any(phrase in lower for phrase in _POLICY):
                    continue
            found_curly += "{" in line
            left += 1
            if line is raw:
                kept_L[number] = True
            else:
                extra += int(_one(line).sentences_L().sum())
        sentences.append(extra)
        lorem.append(found_lorem)
        curly.append(found_curly)
        kept.append(left)
        lines.append(len(stripped))
    total = np.concatenate([[0], np.cumsum(sentences_L * kept_L)])[batch.line_numbers_D]
    return (
        (np.diff(total) + np.array(sentences, np.int64)).astype(float),
        np.array(lorem, float),
        np.array(curly, float),
        _share(np.array(lines) - np.array(kept), lines),
    )


def _one(line: str) -> Tokenised:
    return Tokenised([line])


def fineweb(batch: Tokenised) -> tuple[np.ndarray, ...]:
    """Of the lines that are not blank: ``terminal_line_ratio``, those that end with a full stop of any script;
    ``short_line_ratio``, those of 30 characters at most; ``duplicate_line_character_ratio``, the characters of lines
    that repeat an earlier one, of all but newlines. ``newline_word_ratio``: newlines a word."""
    rows = []
    for text in batch.texts:
        lines = [line for line in text.split("\n") if line and not line.isspace()]
        ended = sum(line[-1] in TERMINAL for line in lines)
        short = sum(len(line) <= SHORT_LINE for line in lines)
        rows.append((len(lines), ended, short, _repeats(lines)[1], len(text), text.count("\n")))
    lines_D, ended_D, short_D, repeated_D, size_D, newlines_D = np.array(rows, np.int64).reshape(-1, 6).T
    return (
        _share(ended_D, lines_D),
        _share(short_D, lines_D),
        _share(repeated_D, size_D - newlines_D),
        _share(newlines_D, batch.words_D),
    )
