"""The data plane: run a scorer over a table on Daft, natively or on Ray, losing no row.

Daft is trusted with fanning out and joining, and with nothing else: an interrupt in a thread makes `collect()` return
with rows missing, a wrong length is broadcast and a wrong type cast, each in silence. So every result is counted, keyed
by record_id and sorted here.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from functools import cache

import daft
import pyarrow as pa
import pyarrow.compute as pc

from tasks.curation.blocks import Blocks
from tasks.curation.records import Engine, Scorer
from tasks.errors import UserError
from tasks.quiet import DEFAULTS
from tasks.stages import Transient
from tasks.watch import call_within

ROW_SECONDS = 60.0
SLOWEST_BYTES = 5_000  # a second: a large model on one core
TRANSIENT = ("MemoryError", "TimeoutError")  # the next run tries such rows again

Progress = Callable[[int], None]  # called with the number of rows just done
_progress: dict[str, Progress] = {}  # by scorer name; a Ray worker finds none and stays silent


@cache
def start(ray_address: str | None = None) -> None:
    """Choose Daft's runner, once per process. Call it from the main thread first.

    UserError when no Ray cluster answers at `ray_address` ("local" starts one here).
    """
    if ray_address:
        _start_ray(ray_address)
        return
    handler = signal.getsignal(signal.SIGINT)
    daft.set_runner_native()
    # Daft's SIGINT hook makes collect() return early with rows missing: let it install, then give Python its own back.
    daft.from_pydict({"x": [0]}).select(daft.col("x") + 1).collect()
    with contextlib.suppress(ValueError):  # only the main thread may; the command line starts the engine there
        signal.signal(signal.SIGINT, handler)


def _start_ray(address: str) -> None:
    import ray

    quiet = {name: os.environ[name] for name in DEFAULTS if name in os.environ}
    try:  # a cluster that already runs takes its environment from here, not from our process
        ray.init(address=address, runtime_env={"env_vars": quiet}, log_to_driver=False, ignore_reinit_error=True)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError("no Ray cluster answers", where=address, hint="start one, or remove `ray_address`") from error
    daft.set_runner_ray(noop_if_initialized=True)


def score_table(
    table: pa.Table, scorer: Scorer, engine: Engine = Engine(), progress: Progress | None = None, batch_size: int = 1024
) -> pa.Table:
    """Apply `scorer` to `table`: record_id, the scorer's columns and ``error``; one row per input row, sorted.

    A row that raises gets nulls and its exception's class name in ``error``; the rows beside it keep their scores.
    RuntimeError when the engine returns other rows than it was given.
    """
    start(engine.ray_address)
    schema = output_schema(scorer)
    if len(table) == 0:
        return schema.empty_table()
    struct, given = pa.struct(list(schema)[1:]), table.select(scorer.inputs).schema

    @daft.func.batch(return_dtype=daft.DataType.from_arrow_type(struct), use_process=False, batch_size=batch_size)
    def run(*columns: daft.Series):
        return _score_batch(scorer, given, struct, columns)

    if progress:
        _progress[scorer.name] = progress
    try:
        frame = daft.from_arrow(table.select(["record_id", *scorer.inputs]))
        scored = frame.select(daft.col("record_id"), run(*(daft.col(name) for name in scorer.inputs)).alias("scores"))
        result = scored.to_arrow().combine_chunks()
    finally:
        _progress.pop(scorer.name, None)
    scores = result["scores"].chunk(0)
    flat = (
        pa.Table.from_arrays([result["record_id"], *scores.flatten()], names=schema.names)
        .cast(schema)
        .sort_by("record_id")
    )
    require_same_rows(table, flat, scorer.name)
    return flat.combine_chunks()


def score_blocks(
    blocks: Blocks, scorer: Scorer, engine: Engine = Engine(), progress: Progress | None = None
) -> Iterator[pa.Table]:
    """`score_table` of a table that need not fit into memory, a block at a time; the rows are those of the whole."""
    for block in blocks.blocks(["record_id", *scorer.inputs]):
        yield score_table(block, scorer, engine, progress)


def _score_batch(scorer: Scorer, given: pa.Schema, struct: pa.StructType, columns: tuple) -> pa.StructArray:
    # A function of the module, because Daft pickles what it runs together with the globals that it names.
    batch = pa.Table.from_arrays([column.to_arrow() for column in columns], names=given.names).cast(given)
    scores = safe_score(scorer, batch).combine_chunks()
    if report := _progress.get(scorer.name):
        report(len(scores))
    chunks = [column.chunk(0) if column.num_chunks else pa.nulls(0, column.type) for column in scores.columns]
    return pa.StructArray.from_arrays(chunks, fields=list(struct))


def output_schema(scorer: Scorer) -> pa.Schema:
    """record_id, the scorer's own columns, error."""
    return pa.schema([pa.field("record_id", pa.string()), *scorer.schema, pa.field("error", pa.string())])


def require_same_rows(given: pa.Table, got: pa.Table, step: str) -> None:
    """RuntimeError unless `got` (sorted) has exactly the record ids of `given`: an interrupt loses rows in silence."""
    expected = given["record_id"].combine_chunks().cast(pa.string()).sort()
    if not expected.equals(got["record_id"].combine_chunks().cast(pa.string())):
        raise RuntimeError(f"{step}: {len(given)} rows went in and {len(got)} came out, or not the same ones")


def safe_score(scorer: Scorer, batch: pa.Table) -> pa.Table:
    """Score a batch; where it raises, halve it until the guilty row stands alone, with its exception's class name.

    A batch that does not come back in time is scored a row at a time, and the row that does not gets TimeoutError.
    The message is left out: it may quote the text.
    """
    seconds = allowed_seconds(batch)
    try:
        return call_within(seconds, lambda: _checked_score(scorer, batch))
    except Exception as error:  # noqa: BLE001 - whatever a model raises, the batch must not die for a row
        if len(batch) == 1:
            nulls = [pa.nulls(1, field.type) for field in scorer.schema]
            schema = pa.schema(list(output_schema(scorer))[1:])
            return pa.Table.from_arrays([*nulls, pa.array([type(error).__name__])], schema=schema)
        size = 1 if isinstance(error, TimeoutError) else -(-len(batch) // 2)
        return pa.concat_tables([safe_score(scorer, batch.slice(at, size)) for at in range(0, len(batch), size)])


def allowed_seconds(batch: pa.Table) -> float:
    """How long a scorer may take: ROW_SECONDS (or $GRISTMILL_ROW_SECONDS), twice that for more than one row, and a
    second for every 5 kB."""
    alone = float(os.environ.get("GRISTMILL_ROW_SECONDS") or ROW_SECONDS)
    return alone * min(len(batch), 2) + batch.nbytes / SLOWEST_BYTES


def _checked_score(scorer: Scorer, batch: pa.Table) -> pa.Table:
    schema = pa.schema(list(output_schema(scorer))[1:])
    scores = scorer.score(batch)
    if len(scores) != len(batch):
        raise RuntimeError(f"{scorer.name} returned {len(scores)} rows for {len(batch)}")
    if "error" not in scores.column_names:
        scores = scores.append_column("error", pa.array([""] * len(scores), pa.string()))
    return scores.select(schema.names).cast(schema)


def transient(errors: pa.ChunkedArray, record_ids: pa.ChunkedArray) -> Transient | None:
    """What a stage returns whose rows failed for the clock's or the machine's sake (contract 3), if any did."""
    failed = pc.is_in(errors, pa.array(TRANSIENT))
    if not pc.any(failed).as_py():
        return None
    rows = record_ids.filter(failed).to_pylist()
    return Transient(hashlib.sha256("\n".join(rows).encode()).hexdigest())
