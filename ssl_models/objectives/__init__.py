"""One file a self-supervised method: its config, its module, its loss call."""
