"""The learning: plain torch. Knows nothing of Prefect, MLflow or policies."""
