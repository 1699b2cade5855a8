"""`gristmill deploy --check`: a dry run of prefect.yaml, which Prefect itself lacks.

Prefect drops an unknown key in silence (`paramaters:` deploys a flow without its parameters) and stops half-way at the
first bad entry. So every entry is checked first: keys, entrypoint, parameters against the flow, schedules, concurrency.
"""

from __future__ import annotations

import difflib
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from flows.outcome import Outcome
from tasks.errors import UserError

SCHEDULE_KINDS = ("cron", "interval", "rrule")


def deploy(check: bool, file: Path) -> Outcome:
    """Validate `file`; without `check`, hand it to ``prefect deploy --all`` afterwards."""
    deployments = validated(file)
    for entry in deployments:
        schedule = ", ".join(entry["schedules"]) or "no schedule"
        print(f"ok  {entry['name']}: {entry['entrypoint']}  ({schedule})")
    print(f"{file}: {len(deployments)} deployments are valid")
    if not check:
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
        if code := subprocess.run(command, check=False).returncode:
            raise UserError(f"`prefect deploy` ended with {code}", where=str(file), hint="its own message is above")
    return Outcome({"file": str(file), "deployments": deployments})


def validated(file: Path) -> list[dict[str, Any]]:
    """Name, entrypoint and schedules of every deployment; UserError with all problems found, one a line-like clause."""
    if not file.is_file():
        raise UserError("there is no such file", where=str(file), hint="give one with --file")
    try:
        value = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise UserError("this is not YAML", where=f"{file}:{mark.line + 1 if mark else '?'}") from None
    if not isinstance(value, dict) or not value.get("deployments"):
        raise UserError("it has no deployments", where=str(file), hint="add a list under `deployments:`")
    problems = list(_check_file(value))
    if problems:
        raise UserError("; ".join(problems), where=str(file))
    return [
        {
            "name": entry["name"],
            "entrypoint": entry["entrypoint"],
            "schedules": [_schedule_text(item) for item in _schedules(entry)],
        }
        for entry in value["deployments"]
    ]


def _check_file(value: dict[str, Any]) -> Iterator[str]:
    from prefect.cli.deploy._models import DeploymentConfig, PrefectYamlModel

    known = {field.alias or name for name, field in PrefectYamlModel.model_fields.items()} | {"definitions"}
    yield from _unknown("", value, known)
    names: set[str] = set()
    for position, entry in enumerate(value["deployments"]):
        where = f"deployments[{position}]"
        if not isinstance(entry, dict):
            yield f"{where} is not a mapping"
            continue
        where = f"{where} '{entry.get('name', '?')}'"
        for key in ("name", "entrypoint", "work_pool"):
            if not entry.get(key):
                yield f"{where} has no {key}"
        if entry.get("name") in names:
            yield f"{where}: two deployments have this name"
        names.add(str(entry.get("name")))
        yield from _unknown(where, entry, set(DeploymentConfig.model_fields))
        yield from _check_shape(where, entry)
        yield from _check_parameters(where, entry)


def _unknown(where: str, value: dict[str, Any], known: set[str]) -> Iterator[str]:
    for key in value:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            yield f"{where + ': ' if where else ''}unknown key '{key}'" + (
                f" (did you mean '{near[0]}'?)" if near else ""
            )


def _check_shape(where: str, entry: dict[str, Any]) -> Iterator[str]:
    from prefect.cli.deploy._models import ConcurrencyLimitSpec, WorkPoolConfig
    from prefect.client.schemas.objects import ConcurrencyLimitConfig
    from pydantic import ValidationError

    if isinstance(pool := entry.get("work_pool"), dict):
        yield from _unknown(f"{where} work_pool", pool, set(WorkPoolConfig.model_fields))
    limit = entry.get("concurrency_limit")
    if isinstance(limit, dict):
        yield from _unknown(f"{where} concurrency_limit", limit, set(ConcurrencyLimitSpec.model_fields))
        try:
            ConcurrencyLimitConfig.model_validate(limit)
        except ValidationError as error:
            yield f"{where} concurrency_limit: {error.errors()[0]['msg']}"
    for schedule in _schedules(entry):
        yield from _check_schedule(where, schedule)


def _schedules(entry: dict[str, Any]) -> list[dict[str, Any]]:
    schedules = entry.get("schedules") or ([entry["schedule"]] if entry.get("schedule") else [])
    return schedules if isinstance(schedules, list) else [schedules]


def _schedule_text(schedule: dict[str, Any]) -> str:
    kind = next(kind for kind in SCHEDULE_KINDS if kind in schedule)
    return f"{kind} {schedule[kind]} {schedule.get('timezone', 'UTC')}"


def _check_schedule(where: str, schedule: Any) -> Iterator[str]:
    from prefect.cli.deploy._models import RawScheduleConfig
    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
    from pydantic import ValidationError

    if not isinstance(schedule, dict):
        yield f"{where}: a schedule is a mapping, not {schedule!r}"
        return
    yield from _unknown(f"{where} schedule", schedule, set(RawScheduleConfig.model_fields))
    try:
        raw = RawScheduleConfig.model_validate(
            {k: v for k, v in schedule.items() if k in RawScheduleConfig.model_fields}
        )
        if raw.cron is not None:
            CronSchedule(cron=raw.cron, timezone=raw.timezone)
        elif raw.interval is not None:
            IntervalSchedule(interval=raw.interval, timezone=raw.timezone)
        else:
            RRuleSchedule(rrule=raw.rrule or "", timezone=raw.timezone)
    except ValidationError as error:
        yield f"{where} schedule {schedule}: {error.errors()[0]['msg']}"


def _check_parameters(where: str, entry: dict[str, Any]) -> Iterator[str]:
    from prefect.flows import load_flow_from_entrypoint

    if not entry.get("entrypoint"):
        return
    try:
        flow: Any = load_flow_from_entrypoint(entry["entrypoint"], use_placeholder_flow=False)
    except Exception as error:  # noqa: BLE001 - importing a user's module may raise anything
        yield f"{where}: the entrypoint '{entry['entrypoint']}' cannot be imported ({type(error).__name__}: {error})"
        return
    settings = [entry.get("parameters") or {}]
    settings += [
        {**settings[0], **schedule["parameters"]}
        for schedule in _schedules(entry)
        if isinstance(schedule, dict) and schedule.get("parameters")
    ]
    for parameters in settings:
        known = set(flow.parameters.properties)
        yield from _unknown(f"{where} parameters", parameters, known)
        missing = [name for name in flow.parameters.required or [] if name not in parameters]
        if missing:
            yield f"{where}: the flow needs the parameter '{missing[0]}'"
        elif set(parameters) <= known:
            yield from _check_values(where, flow, parameters)


def _check_values(where: str, flow: Any, parameters: dict[str, Any]) -> Iterator[str]:
    from prefect.exceptions import ParameterTypeError

    logger = logging.getLogger("prefect.flows")
    level, logger.disabled = logger.level, True  # Prefect logs the raw values at ERROR, secrets included
    try:
        flow.validate_parameters(parameters)
    except (ParameterTypeError, ValueError) as error:
        yield f"{where} parameters: {' '.join(str(error).split())[:200]}"
        return
    finally:
        logger.disabled, logger.level = False, level
    if isinstance(recipe := parameters.get("recipe"), str):
        from flows.preflight import load_policy
        from flows.recipe import load_recipe

        try:
            load_policy(load_recipe(recipe).policy)
        except UserError as error:
            yield f"{where} parameters.recipe: {error.message}"
