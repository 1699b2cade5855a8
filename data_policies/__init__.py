"""The rules: what a policy may say, and what follows from (scores, policy). Knows nothing of engines."""
