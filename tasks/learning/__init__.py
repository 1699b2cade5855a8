"""Learning: tokenizer, training run, probes, tracking."""
