"""Telemetry off, and unsafe defaults off, for every library that Gristmill starts: the one place.

Values are defaults of the process environment, so that child processes inherit them; a value that
the user has set stays. Import this module before any of the libraries: several read their setting
at import (WebDataset's ``WDS_SECURE``, Prefect's settings).
"""

import os

DEFAULTS = {
    # Daft accepts "1" or "true", MLflow only "true".
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DAFT_ANALYTICS_ENABLED": "0",
    "DAFT_PROGRESS_BAR": "0",
    # Not telemetry, but the same kind of default: no pickles and no shell from data (contract 6).
    "WDS_SECURE": "1",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "TOKENIZERS_PARALLELISM": "true",
    # No progress bars of copies, no lines about migrations, no uv.lock of whatever folder a model is logged from.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
}


def hush() -> None:
    """Set each default that the user has not set."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)


hush()
