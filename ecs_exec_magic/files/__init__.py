"""Files and directories into a container and out of it, over exact commands."""

from .behind import Amount, Behind
from .fetching import get, listdir, read_bytes
from .place import Place, parse_place
from .result import CopyResult
from .sending import put, write_bytes

__all__ = [
    "Amount",
    "Behind",
    "CopyResult",
    "Place",
    "get",
    "listdir",
    "parse_place",
    "put",
    "read_bytes",
    "write_bytes",
]
