"""The story: what runs, in which order. Prefect flows and the command line."""

import tasks as tasks  # for its side effect: telemetry off before Prefect is imported
