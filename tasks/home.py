"""HOME: the one folder in which everything that Gristmill makes lives."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import UserError


@dataclass(frozen=True)
class Home:
    """Paths below HOME (``--home``, else ``$GRISTMILL_HOME``, else ``./gristmill-home``)."""

    root: Path

    @classmethod
    def at(cls, path: str | os.PathLike[str] | None = None) -> Home:
        return cls(Path(path or os.environ.get("GRISTMILL_HOME") or "gristmill-home").absolute())

    @property
    def stages(self) -> Path:
        return self.root / "stages"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def mlflow(self) -> Path:
        return self.root / "mlflow"

    @property
    def prefect(self) -> Path:
        return self.root / "prefect"

    def corpus(self, name: str) -> Path:
        return self.root / "corpora" / name

    def refused(self, name: str) -> Path:
        return self.root / "refused" / name

    def run(self, run_id: str) -> Path:
        return self.runs / run_id

    def key(self) -> bytes:
        """The corpus key: keyed hashes of personal data are made with it. Created once, readable by its owner only.

        ``$GRISTMILL_KEY_FILE`` names another file. Raises UserError when that file is missing or too short.
        """
        named = os.environ.get("GRISTMILL_KEY_FILE")
        path = Path(named) if named else self.root / "keys" / "hmac.key"
        if not path.exists():
            if named:
                raise UserError(
                    "the key file does not exist", where=named, hint="unset GRISTMILL_KEY_FILE or create it"
                )
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                    file.write(secrets.token_hex(32))
            except FileExistsError:  # another run was faster; its key is the key
                pass
        key = path.read_bytes().strip()
        if len(key) < 32:
            raise UserError("the key is shorter than 32 bytes", where=str(path), hint="write 64 hex digits into it")
        return key
