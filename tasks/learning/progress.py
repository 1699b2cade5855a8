"""How a long step tells what it is doing."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]  # what is being done, how much is done, of how much
