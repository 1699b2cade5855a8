"""The MLflow store: where it is, how it is opened, and looks into it that cost no MLflow import.

By default it is SQLite under HOME/mlflow; ``MLFLOW_TRACKING_URI`` names another one, and then artifacts go where that
server puts them. MLflow takes about 4 s of CPU to import and open, so the two questions that a cached run and
`audit trace` ask (is this run there? which versions and aliases has it?) are read from our own SQLite file directly.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import sqlite3
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import tasks.quiet  # noqa: F401 - MLflow reads its environment when it is imported
from tasks.errors import UserError
from tasks.home import Home

if TYPE_CHECKING:
    from mlflow import MlflowClient

BUSY_MS = 20_000  # how long a writer waits for another one, as in MLflow's own sessions


def without_credentials(text: str) -> str:
    """`text` with the ``user:password@`` of every URL in it replaced."""
    return re.sub(r"://[^/@\s]+@", "://***@", text)


@dataclass(frozen=True)
class Store:
    """The MLflow store that belongs to a HOME."""

    home: Home

    @property
    def database(self) -> Path:
        return self.home.mlflow / "mlflow.db"

    @property
    def local(self) -> bool:
        """Is it our own SQLite file, rather than what ``MLFLOW_TRACKING_URI`` names?"""
        return self.uri == self._own_uri

    @property
    def remote(self) -> bool:
        """Is it a server, rather than a database?"""
        return self.uri.startswith(("http://", "https://"))

    @property
    def uri(self) -> str:
        return os.environ.get("MLFLOW_TRACKING_URI") or self._own_uri

    @property
    def _own_uri(self) -> str:
        return f"sqlite:///{self.database}"

    @property
    def artifacts(self) -> str | None:
        """The root of artifacts as a URI; None: the server decides."""
        return (self.home.mlflow / "artifacts").as_uri() if self.local else None

    @property
    def base_url(self) -> str:
        """Where the MLflow UI is: the server itself, or where `ui_command` starts one."""
        return without_credentials(self.uri).rstrip("/") if self.remote else "http://127.0.0.1:5000"

    @property
    def ui_command(self) -> str:
        """The command line that shows this store in a browser; empty when a server already does."""
        if self.remote:
            return ""
        return f"mlflow ui --backend-store-uri '{without_credentials(self.uri)}' --host 127.0.0.1 --port 5000"

    def client(self) -> MlflowClient:
        """Open the store, creating our own on first use; UserError when it cannot be opened."""
        MlflowClient, MlflowException = import_mlflow(sql=not self.remote)
        try:
            if self.local and not self.database.exists():
                self._create()
            client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            client.search_experiments(max_results=1)
        except MlflowException as error:
            where = without_credentials(self.uri)
            hint = "unset MLFLOW_TRACKING_URI to use the store under HOME"
            if "out-of-date database schema" in str(error):
                hint = f"back it up, then run: mlflow db upgrade '{where}'"
            message = without_credentials(str(error).splitlines()[0])
            raise UserError(f"MLflow cannot use this store: {message}", where=where, hint=hint) from None
        return client

    def _create(self) -> None:
        """Make the SQLite file whole or not at all: a kill in the middle of MLflow's migrations leaves it unusable."""
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
        from sqlalchemy import Engine, event

        self.home.mlflow.mkdir(parents=True, exist_ok=True)
        temporary = self.home.mlflow / f".mlflow.{os.getpid()}.tmp"
        temporary.unlink(missing_ok=True)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        event.listen(Engine, "connect", _without_sync)  # dozens of migrations: one sync at the end will do
        try:
            # The artifact root is for the sake of MLflow's "Default" experiment: else it is the working folder.
            SqlAlchemyStore(f"sqlite:///{temporary}", str(self.artifacts)).engine.dispose()
        finally:
            event.remove(Engine, "connect", _without_sync)
        with contextlib.closing(sqlite3.connect(temporary)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")  # stays with the file: the UI reads while a run writes
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        try:
            os.link(temporary, self.database)
        except FileExistsError:  # another process was faster; its file stays
            pass
        finally:
            temporary.unlink()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """One writer a HOME: two projections of one run at once would each create it. A kill releases the lock."""
        self.home.mlflow.mkdir(parents=True, exist_ok=True)
        with open(self.home.mlflow / ".lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def as_default(self) -> Iterator[None]:
        """This as the process's default store for a block; ``MLFLOW_TRACKING_URI`` is restored after it."""
        import mlflow

        before = os.environ.get("MLFLOW_TRACKING_URI")
        mlflow.set_tracking_uri(self.uri)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(None)  # type: ignore[arg-type] # takes the variable away, too
            if before is not None:
                os.environ["MLFLOW_TRACKING_URI"] = before

    def look(self, sql: str, *values: Any) -> list[tuple[Any, ...]] | None:
        """Rows of our own SQLite file without importing MLflow; None when there is no such look (ask the client)."""
        if not self.local:
            return None
        if not self.database.exists():
            return []
        try:
            with contextlib.closing(
                sqlite3.connect(f"file:{quote(str(self.database))}?mode=ro", uri=True)
            ) as connection:
                connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
                return connection.execute(sql, values).fetchall()
        except sqlite3.Error:  # another MLflow with another schema: its own client knows
            return None


def _without_sync(connection: Any, record: Any) -> None:
    if isinstance(connection, sqlite3.Connection):  # the event is the process's: not Prefect's asynchronous ones
        connection.execute("PRAGMA synchronous=OFF")


def import_mlflow(sql: bool = True) -> tuple[Any, Any]:
    """(MlflowClient, MlflowException), without the warnings that MLflow's own modules raise while they are imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        if sql:
            import mlflow.store.model_registry.sqlalchemy_store
            import mlflow.store.tracking.sqlalchemy_store  # noqa: F401 - it configures its mappers here, with warnings
    return MlflowClient, MlflowException
