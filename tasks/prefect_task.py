"""The thin Prefect layer over the steps: no cache but the stage folders, no document through the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed

from tasks.stages import Stage


def as_task(step: Callable[..., Any], name: str) -> Callable[..., Any]:
    """`step` as a Prefect task; a stage whose folder was there completes as "Cached", for the UI to show."""

    @task(name=name, cache_policy=NO_CACHE, persist_result=False, retries=0)
    def run(*args: Any, **kwargs: Any) -> Any:
        result = step(*args, **kwargs)
        if isinstance(result, Stage) and result.reused:
            return Completed(name="Cached", message=f"{result.name} {result.digest[:16]} was there", data=result)
        return result

    def call(*args: Any, **kwargs: Any) -> Any:
        return run(*args, return_state=True, **kwargs).result()  # a named state would come back as a state

    return call
