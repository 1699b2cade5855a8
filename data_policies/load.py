"""Policies from YAML: those that ship, and a user's own. Whatever is wrong in one is said in one line."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from data_policies.explain import UNKNOWN, explain
from data_policies.schema import Policy
from data_policies.spdx import known_identifiers, leaves, unknown_licences

LARGEST = 1_000_000  # bytes of a policy file


class PolicyError(ValueError):
    """What is wrong in a policy, where, and what to do. A user's error."""

    def __init__(self, message: str, where: str = "", hint: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.message, self.where, self.hint = message, where, hint

    def __reduce__(self):  # Prefect carries exceptions between processes
        return PolicyError, (self.message, self.where, self.hint)


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice: PyYAML keeps the last one in silence."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str | int | float | bool):
            raise yaml.MarkedYAMLError(
                problem=f"the key on line {key_node.start_mark.line + 1} is not a word",
                problem_mark=key_node.start_mark,
            )
        if key in seen:
            raise yaml.MarkedYAMLError(problem=f"the key '{key}' is given twice", problem_mark=key_node.start_mark)
        seen.add(key)
    loader.flatten_mapping(node)
    return dict(yaml.SafeLoader.construct_mapping(loader, node, deep=True))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def shipped() -> dict[str, Path]:
    """The policies that come with Gristmill: name -> path, sorted by name."""
    folder = Path(str(files("data_policies")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_yaml(path: Path) -> Any:
    """A YAML file's value; PolicyError when it cannot be read, is no YAML, or gives a key twice."""
    where = str(path)
    try:
        if path.stat().st_size > LARGEST:
            raise PolicyError(f"the file has more than {LARGEST:,} bytes", where, "a policy is a short YAML file")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PolicyError("the file does not exist", where, "check the path") from None
    except IsADirectoryError:
        raise PolicyError("this is a folder, not a file", where, "name the YAML file") from None
    except UnicodeDecodeError:
        raise PolicyError("the file is not UTF-8 text", where, "save it as UTF-8") from None
    except OSError as error:
        raise PolicyError(f"the file cannot be read ({error.strerror})", where) from None
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise PolicyError(
            f"{error.problem or 'not YAML'}", f"{where}{line}", "see the shipped policies for the form"
        ) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise PolicyError(
            f"not YAML ({type(error).__name__})", where, "see the shipped policies for the form"
        ) from None


def load_policy(name_or_path: str | os.PathLike[str]) -> Policy:
    """A shipped policy by its name, or a YAML file by its path. PolicyError on anything wrong in it."""
    name = os.fspath(name_or_path)
    ships = shipped()
    if name in ships:
        path = ships[name]
    elif re.search(r"[/\\]|\.ya?ml$", name) or Path(name).exists():
        path = Path(name)
    else:
        near = difflib.get_close_matches(name, ships, n=1)
        hint = (
            f"did you mean '{near[0]}'? " if near else ""
        ) + f"shipped: {', '.join(ships)}; or give the path of a YAML file"
        raise PolicyError(f"no policy is named '{name}'", "policy", hint)
    return validate(read_yaml(path), str(path))


def validate(value: Any, where: str) -> Policy:
    """The policy that a mapping describes; PolicyError naming the key, `where`, and what is allowed there."""
    if not isinstance(value, dict):
        raise PolicyError("a policy is a mapping of keys to values", where, f"keys: {', '.join(_keys(Policy))}")
    try:
        return TypeAdapter(Policy).validate_python(value)
    except ValidationError as error:
        message, hint = explain(error, _keys_at(error))
        raise PolicyError(message, where, hint or _licence_hint(value)) from None


def _keys(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _keys_at(error: ValidationError) -> list[str]:
    """The keys that are allowed beside the unknown one that `error` reports."""
    for problem in error.errors(include_url=False, include_input=False):
        if problem["type"] in UNKNOWN:
            kind: Any = Policy
            for part in problem["loc"][:-1]:
                kind = _value_type(kind, str(part))
            return _keys(kind) if dataclasses.is_dataclass(kind) and isinstance(kind, type) else []
    return []


def _value_type(kind: Any, part: str) -> Any:
    """The type of the value at key `part` of a dataclass, a mapping, or either or None."""
    if dataclasses.is_dataclass(kind):
        kind = get_type_hints(kind).get(part)
    else:
        kind = get_args(kind)[-1] if get_args(kind) else None
    options = [option for option in get_args(kind) if dataclasses.is_dataclass(option)]
    return options[0] if options and getattr(kind, "__origin__", None) is not dict else kind


def _licence_hint(value: dict[Any, Any]) -> str:
    """The SPDX identifiers nearest to the first unknown one of an allow-list."""
    licences = value.get("licences")
    allow = licences.get("allow") if isinstance(licences, dict) else None
    unknown = unknown_licences(name for name in allow if isinstance(name, str)) if isinstance(allow, list) else []
    if not unknown:
        return ""
    if (parts := leaves(unknown[0])) and len(parts) > 1:
        return f"list its licences one by one: {', '.join(parts)}"
    if parts:
        return f"did you mean '{parts[0]}'?"
    by_lower = known_identifiers()
    near = difflib.get_close_matches(unknown[0].lower(), by_lower, n=3, cutoff=0.5)
    found = list(dict.fromkeys(by_lower[name] for name in near))
    return (
        f"did you mean {' or '.join(repr(name) for name in found)}?"
        if found
        else "one identifier a line, as on spdx.org/licenses"
    )
