"""Measurements: each writes benchmarks/results/NAME.json with the machine named."""
