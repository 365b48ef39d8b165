"""The quickstart notebook run in a terminal, or opened in JupyterLab, on the practice cluster.

Knows notebooks and how to start the sandbox. Never knows what the cells do.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["main", "run"]

_NOTEBOOK = Path("notebooks", "01_quickstart.ipynb")
_NEEDED = ("nbclient", "nbconvert", "nbformat", "ipykernel", "aiohttp")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_MARKUP = re.compile(r"`|\*\*")


def main(
    notebook: str | Path | None = None, live: bool = False, arguments: Sequence[str] = ()
) -> int:
    """Run a notebook from its first cell to its last, on a practice cluster of its own.

    Each cell's source and output appear in the terminal as they come, and the executed notebook is
    written beside the original as HTML.

    Args:
        notebook: the file; the quickstart when not given.
        live: open it in JupyterLab, and keep the cluster until JupyterLab ends.
        arguments: further arguments for JupyterLab.

    Returns:
        0, or 1 when a cell failed, or JupyterLab's exit code.

    Raises:
        InvalidRequest: the notebook, or a library that this needs, is not there.
    """
    path = _find(notebook)
    _need(*(("jupyterlab", "ipykernel", "aiohttp") if live else _NEEDED))
    from . import sandbox

    _say(_dim("starting the practice cluster …"))
    cluster = sandbox.start(pace="fast")
    try:
        environment = _environment(cluster.environment)
        if live:
            return _open(path, environment, arguments)
        return _run(path, environment)
    finally:
        cluster.stop()


def run(*argv: str) -> int:
    """:func:`main` for a command line: ``[--live] [NOTEBOOK] [-- ARGUMENTS OF JUPYTERLAB]``."""
    words = list(argv)
    rest = words[words.index("--") + 1 :] if "--" in words else []
    words = words[: words.index("--")] if "--" in words else words
    live = "--live" in words
    words = [word for word in words if word != "--live"]
    if len(words) > 1 or any(word.startswith("-") for word in words):
        raise InvalidRequest(f"one notebook is expected, not {' '.join(words)}")
    return main(words[0] if words else None, live=live, arguments=rest)


def _find(notebook: str | Path | None) -> Path:
    if notebook is not None:
        path = Path(notebook)
        if path.is_file():
            return path
        raise InvalidRequest(f"there is no notebook {path}")
    for root in (Path.cwd(), Path(__file__).resolve().parents[1]):
        if (root / _NOTEBOOK).is_file():
            return root / _NOTEBOOK
    raise InvalidRequest(
        f"{_NOTEBOOK} is not here",
        cure="run this in a checkout of the project, or name a notebook",
    )


def _need(*modules: str) -> None:
    missing = [name for name in modules if util.find_spec(name) is None]
    if missing:
        raise InvalidRequest(
            f"this needs {', '.join(missing)}", cure="pip install 'ecs-exec-magic[lab]'"
        )


def _environment(practice: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with nothing in it that leads to a real account."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    # A profile of the user's could name endpoints of its own, which win over the general one.
    files = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
    return {**kept, **files, **practice}


def _run(path: Path, environment: dict[str, str]) -> int:
    import nbformat
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    class Client(NotebookClient):
        """Shows what arrives when it arrives, not when the notebook is done."""

        def process_message(self, message: Any, cell: Any, cell_index: int) -> Any:
            _show(message["header"]["msg_type"], message["content"])
            return super().process_message(message, cell, cell_index)

    read: Any = nbformat.read  # untyped
    book = read(path, as_version=4)
    codes = [index for index, cell in enumerate(book.cells) if cell.cell_type == "code"]

    def announce(cell: Any, cell_index: int, **_: Any) -> None:
        if cell.cell_type == "code":
            _say(_dim(f"\n[{codes.index(cell_index) + 1}/{len(codes)}] " + _indented(cell.source)))
        else:
            _say("\n" + _plain(cell.source))

    # This interpreter's own kernel, whatever "python3" means in the user's Jupyter directories.
    manager = AsyncKernelManager()
    spec: Any = manager.kernel_spec
    spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    client = Client(
        book,
        km=manager,
        timeout=120,
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors; not a word about transports
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_start=announce,
    )
    began = time.monotonic()
    failed = False
    try:
        # With a manager given to it, nbclient leaves the kernel running unless told.
        client.execute(env=environment, cleanup_kc=True)
    except CellExecutionError:
        failed = True  # the cell's own traceback is on the screen
    page = path.with_name(f"{path.stem}.executed.html")
    page.write_text(_html(book), encoding="utf-8")
    _say("")
    if failed:
        _say(f"a cell failed after {time.monotonic() - began:.1f} s; all of it is in {page}")
        return 1
    _say(f"{len(codes)} cells ran in {time.monotonic() - began:.1f} s; as a page: {page}")
    _say("to run them by hand: ecs-exec-magic lab")
    return 0


def _html(book: Any) -> str:
    from nbconvert import HTMLExporter

    exporter: Any = HTMLExporter  # untyped
    body, _ = exporter().from_notebook_node(book)
    return str(body)


def _open(path: Path, environment: dict[str, str], arguments: Sequence[str]) -> int:
    command = [sys.executable, "-m", "jupyterlab", str(path), *arguments]
    if hasattr(os, "geteuid") and os.geteuid() == 0 and "--allow-root" not in arguments:
        command.append("--allow-root")  # whoever runs this as root means it; it listens locally
    _say(_dim("the practice cluster runs until JupyterLab ends (Ctrl-C, twice)"))
    with subprocess.Popen(command, env=environment) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # Ctrl-C reaches JupyterLab too, and it asks before it ends


def _show(kind: str, content: dict[str, Any]) -> None:
    if kind == "stream":
        sys.stdout.write(content["text"])
    elif kind in ("execute_result", "display_data"):
        _say(content["data"].get("text/plain", ""))
    elif kind == "error":
        text = "\n".join(content["traceback"])
        _say(text if sys.stdout.isatty() else _COLOUR.sub("", text))
    sys.stdout.flush()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _dim(text: str) -> str:
    return f"\x1b[2m{text}\x1b[0m" if sys.stdout.isatty() else text


def _indented(source: str) -> str:
    return source.replace("\n", "\n      ")


def _plain(markdown: str) -> str:
    """Markdown's few signs taken out, for the terminal."""
    lines = [line.lstrip("#").strip() for line in markdown.splitlines()]
    return "\n".join(_MARKUP.sub("", line) for line in lines)
