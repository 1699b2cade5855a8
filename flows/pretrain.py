"""corpus -> a checkpoint and an MLflow run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, runtime, tags

from flows.audit import find_corpus
from flows.common import flow_run_name, resolve
from flows.recipe import Recipe
from tasks.governance.manifest import read_manifest
from tasks.home import Home
from tasks.learning import train as training
from tasks.learning.tokenize import VERSION as TOKENIZER_VERSION
from tasks.learning.tokenize import train_tokenizer
from tasks.prefect_task import as_task
from tasks.progress import progress
from tasks.stages import Stage, run_stage
