"""The dry run that Prefect lacks: the shipped file is valid, and every kind of mistake is named."""

from pathlib import Path

import pytest
import yaml

from flows.deployments import validated
from tasks.errors import UserError

SHIPPED = Path(__file__).parents[2] / "prefect.yaml"


def test_the_shipped_file_is_valid():
    found = {entry["name"]: entry for entry in validated(SHIPPED)}
    assert set(found) == {"nightly-curation", "weekly-pipeline", "monthly-audit"}
    assert found["nightly-curation"]["schedules"] == ["cron 0 2 * * * Europe/Berlin"]


MISTAKES = {
    "unknown key 'paramaters' (did you mean 'parameters'?)": lambda d: d.update(paramaters=d.pop("parameters")),
    "has no work_pool": lambda d: d.pop("work_pool"),
    "has no entrypoint": lambda d: d.pop("entrypoint"),
    "cannot be imported": lambda d: d.update(entrypoint="flows.curate.no_such_flow"),
    "unknown key 'recpie'": lambda d: d.update(parameters={"recpie": "python-docs"}),
    "needs the parameter 'recipe'": lambda d: d.update(parameters={}),
    "there is no recipe 'pythn-docs'": lambda d: d.update(parameters={"recipe": "pythn-docs"}),
    "parameters: ": lambda d: d.update(parameters={"recipe": {"name": "x"}}),
    "Invalid cron": lambda d: d.update(schedules=[{"cron": "61 2 * * *"}]),
    "imezone": lambda d: d.update(schedules=[{"cron": "0 2 * * *", "timezone": "Europe/Nowhere"}]),
    "unknown key 'crn'": lambda d: d.update(schedules=[{"crn": "0 2 * * *"}]),
    "concurrency_limit: ": lambda d: d.update(concurrency_limit={"limit": 1, "collision_strategy": "REFUSE"}),
    "unknown key 'limt'": lambda d: d.update(concurrency_limit={"limit": 1, "limt": 1}),
    "unknown key 'pool'": lambda d: d.update(work_pool={"name": "x", "pool": 1}),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_every_mistake_is_named(message, tmp_path):
    value = yaml.safe_load(SHIPPED.read_text())
    MISTAKES[message](value["deployments"][0])
    file = tmp_path / "prefect.yaml"
    file.write_text(yaml.safe_dump(value))
    with pytest.raises(UserError) as caught:
        validated(file)
    assert message.lower() in caught.value.message.lower()
    assert "nightly-curation" in caught.value.message or "no entrypoint" in message


def test_all_mistakes_are_told_at_once(tmp_path):
    value = yaml.safe_load(SHIPPED.read_text())
    value["deployments"][0]["paramaters"] = {}
    value["deployments"][2]["schedules"][0]["cron"] = "nonsense"
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(value))
    with pytest.raises(UserError, match="paramaters.*monthly-audit"):
        validated(tmp_path / "p.yaml")


@pytest.mark.parametrize(("text", "message"), [("a: [", "not YAML"), ("name: x", "no deployments")])
def test_a_file_that_is_none(text, message, tmp_path):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        validated(tmp_path / "p.yaml")
