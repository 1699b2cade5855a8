"""HOME: where it is, and a key that is made once, is private, and is never too short."""

import stat

import pytest

from tasks.errors import UserError
from tasks.home import Home


def test_home_is_the_flag_else_the_variable_else_here(tmp_path, monkeypatch):
    monkeypatch.setenv("GRISTMILL_HOME", str(tmp_path / "a"))
    assert Home.at(tmp_path / "b").root == tmp_path / "b"
    assert Home.at().root == tmp_path / "a"
    monkeypatch.delenv("GRISTMILL_HOME")
    monkeypatch.chdir(tmp_path)
    assert Home.at().root == tmp_path / "gristmill-home"


def test_the_key_is_made_once_and_is_private(home):
    key = home.key()
    assert key == home.key()
    assert len(key) == 64
    path = home.root / "keys" / "hmac.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_file_of_ones_own(home, tmp_path, monkeypatch):
    monkeypatch.setenv("GRISTMILL_KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(UserError, match="does not exist"):
        home.key()
    (tmp_path / "key").write_text("short")
    with pytest.raises(UserError, match="shorter than 32"):
        home.key()
    (tmp_path / "key").write_text("k" * 40)
    assert home.key() == b"k" * 40
    assert not (home.root / "keys").exists()
