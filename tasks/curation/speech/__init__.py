"""A small formant synthesiser: speech with transcripts for tests, demonstrations and benchmarks, without a download."""
