"""Presidio's side of `benchmarks.pii`; runs in an interpreter that has presidio-analyzer and presidio-evaluator.

    python pii_peer.py generate COUNT SEED OUT     sentences with gold spans, JSON lines
    python pii_peer.py scan WHICH                  serves: texts in, spans and seconds out, a line of JSON each

WHICH: ``default`` (what Presidio loads for English) or ``all`` (every pattern recogniser it ships, asked of English).
No NER in either: a blank spaCy pipeline whose lemmas are the words in lower case, so that context words count.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import sys
import time


def generate(count: int, seed: int, out: str) -> None:
    from presidio_evaluator.data_generator import PresidioSentenceFaker

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        faker = PresidioSentenceFaker("en_US", lower_case_ratio=0.05, random_seed=seed)
        sentences = faker.generate_new_fake_sentences(count)
    with open(out, "w", encoding="utf-8") as file:
        for sentence in sentences:
            spans = [[span.entity_type, span.start_position, span.end_position] for span in sentence.spans]
            row = {"text": sentence.full_text, "template": sentence.template_id, "spans": spans}
            file.write(json.dumps(row) + "\n")


def engine(which: str):
    import spacy
    from presidio_analyzer import AnalyzerEngine, PatternRecognizer, RecognizerRegistry, predefined_recognizers
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    from spacy.language import Language

    @Language.component("lower_case_lemmas")
    def lower_case_lemmas(doc):
        for token in doc:
            token.lemma_ = token.lower_
        return doc

    class Blank(SpacyNlpEngine):
        def __init__(self) -> None:
            super().__init__()
            nlp = spacy.blank("en")
            nlp.add_pipe("lower_case_lemmas")
            nlp.max_length = 100_000_000
            self.nlp = {"en": nlp}

        def load(self) -> None:
            pass

    registry = RecognizerRegistry(supported_languages=["en"])
    registry.load_predefined_recognizers(languages=["en"])
    if which == "all":
        present = {type(recognizer).__name__ for recognizer in registry.recognizers}
        for name, kind in sorted(vars(predefined_recognizers).items()):
            if inspect.isclass(kind) and issubclass(kind, PatternRecognizer) and name not in present:
                with contextlib.suppress(TypeError, ValueError):
                    registry.add_recognizer(kind(supported_language="en"))
    return AnalyzerEngine(registry=registry, nlp_engine=Blank(), supported_languages=["en"])


def serve(which: str) -> None:
    import logging

    logging.disable(logging.CRITICAL)
    analyzer = engine(which)
    analyzer.analyze("warm up: a@b.com, 4111 1111 1111 1111", language="en")
    names = sorted(type(recognizer).__name__ for recognizer in analyzer.registry.recognizers)
    print(json.dumps({"recognizers": names}), flush=True)
    for line in sys.stdin:
        texts = json.loads(line)
        begin = time.process_time()
        found = [analyzer.analyze(text, language="en") for text in texts]
        seconds = time.process_time() - begin
        spans = [[[r.entity_type, r.start, r.end, r.score] for r in results] for results in found]
        print(json.dumps({"seconds": seconds, "spans": spans}), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "generate":
        generate(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    else:
        serve(sys.argv[2])
