"""datatrove's side of benchmarks/quality.py: runs in the peer's interpreter and imports nothing of Gristmill.

Each line of standard input is {"what": "chain" | "rules", "texts": [...]}; each gets one line of answer. "chain": the
four filters one after the other, stopping at the first that refuses, timed. "rules": every rule alone, untimed; the
words of a text are then cut once, by datatrove's own tokenizer, and kept for all rules.
"""

import json
import sys
import time

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    c4_filters,
    fineweb_quality_filter,
    gopher_quality_filter,
    gopher_repetition_filter,
)

OFF_QUALITY = dict.fromkeys(
    ["min_doc_words", "max_doc_words", "min_avg_word_length", "max_avg_word_length", "max_symbol_word_ratio",
     "max_bullet_lines_ratio", "max_ellipsis_lines_ratio", "max_non_alpha_words_ratio", "min_stop_words"]
)  # fmt: skip
OFF_REPETITION = {
    "dup_line_frac": None, "dup_para_frac": None, "dup_line_char_frac": None, "dup_para_char_frac": None,
    "top_n_grams": (), "dup_n_grams": (),
}  # fmt: skip
OFF_C4 = {"min_num_sentences": -1, "filter_lorem_ipsum": False, "filter_curly_bracket": False}
OFF_FINEWEB = {"line_punct_thr": -1, "short_line_thr": 9, "char_duplicates_ratio": 9, "new_line_ratio": 1e9}


def rules():
    """Our name of each rule and datatrove's filter with that rule alone. A rule with two reasons is told by reason."""

    def quality(**on):
        return GopherQualityFilter(**{**OFF_QUALITY, **on})

    def repetition(**on):
        return GopherRepetitionFilter(**{**OFF_REPETITION, **on})

    def fineweb(**on):
        return FineWebQualityFilter(**{**OFF_FINEWEB, **on})

    q, r, c, f = (f"quality.{name}." for name in ("gopher-quality", "gopher-repetition", "c4", "fineweb"))
    made = {
        q + "words": quality(min_doc_words=50, max_doc_words=100000),
        q + "mean_word_length": quality(min_avg_word_length=3, max_avg_word_length=10),
        q + "hash_word_ratio": (quality(max_symbol_word_ratio=0.1), "gopher_too_many_hashes"),
        q + "ellipsis_word_ratio": (quality(max_symbol_word_ratio=0.1), "gopher_too_many_ellipsis"),
        q + "bullet_line_ratio": quality(max_bullet_lines_ratio=0.9),
        q + "ellipsis_line_ratio": quality(max_ellipsis_lines_ratio=0.3),
        q + "alphabetic_word_ratio": quality(max_non_alpha_words_ratio=0.8),
        q + "stop_words": quality(min_stop_words=2),
        r + "duplicate_line_ratio": repetition(dup_line_frac=0.3),
        r + "duplicate_paragraph_ratio": repetition(dup_para_frac=0.3),
        r + "duplicate_line_character_ratio": repetition(dup_line_char_frac=0.2),
        r + "duplicate_paragraph_character_ratio": repetition(dup_para_char_frac=0.2),
        c + "sentences": C4QualityFilter(**{**OFF_C4, "min_num_sentences": 5}),
        c + "lorem_ipsum_lines": C4QualityFilter(**{**OFF_C4, "filter_lorem_ipsum": True}),
        c + "curly_bracket_lines": C4QualityFilter(**{**OFF_C4, "filter_curly_bracket": True}),
        f + "terminal_line_ratio": fineweb(line_punct_thr=0.12),
        f + "short_line_ratio": fineweb(short_line_thr=0.67),
        f + "duplicate_line_character_ratio": fineweb(char_duplicates_ratio=0.01),
        f + "newline_word_ratio": fineweb(new_line_ratio=0.3),
    }
    for n, share in ((2, 0.2), (3, 0.18), (4, 0.16)):
        made[f"{r}top_{n}_gram_character_ratio"] = repetition(top_n_grams=((n, share),))
    for n, share in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10)):
        made[f"{r}duplicate_{n}_gram_character_ratio"] = repetition(dup_n_grams=((n, share),))
    return made


def keep_words():
    """Cut each text once for all rules: datatrove's own functions behind a table."""
    words, sentences = "split_into_words", "split_into_sentences"
    named = [(module, words) for module in (gopher_quality_filter, gopher_repetition_filter, fineweb_quality_filter)]
    tables = {words: {}, sentences: {}}
    for module, name in (*named, (c4_filters, sentences)):
        original, table = getattr(module, name), tables[name]

        def cut(text, language, original=original, table=table):
            if len(table) > 20_000:
                table.clear()
            if (text, language) not in table:
                table[text, language] = original(text, language)
            return table[text, language]

        yield module, name, original, cut


def refuses(rule, text):
    filter_, reason = rule if isinstance(rule, tuple) else (rule, None)
    try:
        answer = filter_.filter(Document(text=text, id="0"))
    except ZeroDivisionError:  # a text without words: its other rules refuse it
        return False
    if answer is True:
        return False
    return reason is None or answer[1] == reason


def main():
    chain = [GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(), FineWebQualityFilter()]
    alone = rules()
    swaps = list(keep_words())
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["what"] == "chain":
            verdicts, begin = [], time.process_time()
            for text in asked["texts"]:
                document, verdict = Document(text=text, id="0"), ""
                for step in chain:
                    answer = step.filter(document)
                    if answer is not True:
                        verdict = answer[1]
                        break
                verdicts.append(verdict)
            out = {"seconds": time.process_time() - begin, "verdicts": verdicts}
        else:
            for module, name, _, cut in swaps:
                setattr(module, name, cut)
            found = [{"asked": list(alone), "hit": [name for name, rule in alone.items() if refuses(rule, text)]}
                     for text in asked["texts"]]  # fmt: skip
            for module, name, original, _ in swaps:
                setattr(module, name, original)
            out = {"rules": found}
        print(json.dumps(out), flush=True)


if __name__ == "__main__":
    main()
