"""Which registered models came of a run. MLflow, whose import takes seconds, is asked only about tracked runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.home import Home


def models_of(home: Home) -> Callable[[str], list[dict[str, Any]]]:
    """A look-up of a run's registered models; it needs MLflow only when a run was tracked."""

    def look_up(run_id: str) -> list[dict[str, Any]]:
        if not (home.run(run_id) / "mlflow.json").is_file():
            return []
        from tasks.learning.track import Tracking

        return Tracking(home).model_versions_of(run_id)

    return look_up
