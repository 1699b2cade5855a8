"""The verdicts of a ledger; apart from its schema, so that a question about one record need not load Arrow."""

VERDICTS = ("keep", "redact", "drop", "quarantine")
ADMITTED = ("keep", "redact")
