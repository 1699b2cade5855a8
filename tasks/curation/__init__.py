"""Curation: ingest, score, decide, deduplicate, gate, shard."""
