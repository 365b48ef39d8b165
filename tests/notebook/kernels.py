"""A real kernel, spoken to as a front end does."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from jupyter_client.manager import KernelManager
from traitlets.config import Config

from ecs_exec_magic import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["Cell", "Kernel", "Subshell", "own_sockets", "practising", "touch"]


@dataclass
class Cell:
    """What one cell has shown, in the order in which it came.

    Attributes:
        displays: what stood in places that can be replaced, by their ids, the last one last; an
            update belongs to the cell whose place it is, whichever message it answers.
        messages: what made the front end draw something, with the time at which it came.
    """

    source: str
    streams: list[tuple[str, str]] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    displays: dict[str, list[str]] = field(default_factory=dict)
    messages: list[tuple[float, str]] = field(default_factory=list, repr=False)
    error: tuple[str, str] | None = None
    traceback: str = ""
    idle: bool = False
    status: str = ""
    reply: dict[str, Any] = field(default_factory=dict)

    @property
    def stdout(self) -> str:
        return "".join(text for name, text in self.streams if name == "stdout")

    @property
    def stderr(self) -> str:
        return "".join(text for name, text in self.streams if name == "stderr")

    @property
    def done(self) -> bool:
        return self.idle and bool(self.status)


def own_sockets(directory: str) -> Config:
    """Let kernels talk over sockets in a directory, and give them time.

    Jupyter looks for free TCP ports and lets the kernel bind them a moment later, when another
    process may have taken them: with kernels beside each other that happens.
    """
    config = Config()
    config.KernelManager.transport = "ipc"
    config.KernelManager.ip = f"{directory}/k"  # short: the names of sockets are at most 107 bytes
    # Half of its time a kernel has to end its sessions in, and gets SIGTERM then: 2.5 s are little
    # for a busy machine. nbclient goes on without a cell's last output when that takes so long.
    config.KernelManager.shutdown_wait_time = 120.0
    config.NotebookClient.iopub_timeout = 60
    return config


def text_of(cell: Any) -> str:
    """What a cell of an executed notebook shows, as text.

    A line can stand in several outputs: ipykernel sends what is written every so often, and a
    print of several values writes each by itself.
    """
    text = ""
    for output in cell.get("outputs", ()):
        if output.output_type == "stream":
            text += output.text
        else:
            text += str(output.get("data", {}).get("text/plain", "")) + "\n"
    return text


def touch(environment: Mapping[str, str], path: str) -> None:
    """Make a file in demo/web:nginx without any kernel, and so let a command there go on."""
    session = boto3.Session(
        environment["AWS_ACCESS_KEY_ID"],
        environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
    )
    with contextlib.closing(
        connect(endpoint_url=environment["AWS_ENDPOINT_URL"], session=session)
    ) as client:
        client.target("demo/web:nginx").run(f"touch {path}")


@contextlib.contextmanager
def practising(cluster: Any, directory: Path) -> Iterator[Kernel]:
    """A kernel with the magics and a target, in a practice cluster."""
    kernel = Kernel(dict(cluster.environment), str(directory))
    try:
        kernel.load()
        kernel.good("%ecs_target demo/web:nginx")
        yield kernel
    finally:
        kernel.close()


class Kernel:
    """A kernel of this interpreter; close it when done."""

    def __init__(self, environment: Mapping[str, str], ipython_dir: str) -> None:
        self._sockets = tempfile.mkdtemp(prefix="ecs")
        self._manager = KernelManager(config=own_sockets(self._sockets))
        spec: Any = self._manager.kernel_spec
        spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        Path(ipython_dir).mkdir(parents=True, exist_ok=True)
        env = {**os.environ, **environment, "IPYTHONDIR": ipython_dir}
        self._manager.start_kernel(env=env, cwd=ipython_dir)  # where runs are recorded
        self._client: Any = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)
        self._cells: dict[str, Cell] = {}

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def send(self, source: str) -> Cell:
        """Queue a cell, as Run All does with each."""
        cell = Cell(source)
        self._cells[self._client.execute(source, stop_on_error=True)] = cell
        return cell

    def wait(self, until: Callable[[], bool], seconds: float = 60) -> None:
        """Take in messages until something is so."""
        end = time.monotonic() + seconds
        while not until():
            if time.monotonic() > end:
                last = [repr(cell)[:1500] for cell in list(self._cells.values())[-3:]]
                raise AssertionError(f"not so after {seconds} s; the last cells: {last}")
            self._take(self._client.get_iopub_msg, self._published)
            self._take(self._client.get_shell_msg, self._replied)

    def run(self, source: str, seconds: float = 60) -> Cell:
        """Run a cell to its end."""
        cell = self.send(source)
        self.wait(lambda: cell.done, seconds)
        return cell

    def good(self, source: str) -> Cell:
        """Run a cell that must not fail."""
        cell = self.run(source)
        assert cell.status == "ok", cell
        return cell

    def load(self) -> None:
        """Load the magics."""
        self.good("%load_ext ecs_exec_magic")
        self.notice_after(60)

    def notice_after(self, seconds: float) -> None:
        """Let commands that wait for a place in their container say so only after a while.

        Two sessions that are being given back hold both places, on a busy machine for seconds: the
        next command would say so, where a test looks at all that it says.
        """
        self.good(f"from ecs_exec_magic.aws.slots import slots\nslots._notice_after = {seconds}")

    def grace(self, seconds: float) -> None:
        """Let what is cancelled have so much time from SIGTERM to the end of its session."""
        self.good(f"from ecs_exec_magic.runner import Job\nJob.stop.__defaults__ = ({seconds},)")

    def value(self, expression: str) -> str:
        """The repr of an expression."""
        return self.good(f"print(repr(({expression})))").stdout[:-1]

    def complete(self, text: str, mark: str = "¦") -> list[str]:
        """The texts that completing at the mark can make of a text, as a front end applies it."""
        cursor = text.index(mark)
        code = text.replace(mark, "", 1)
        cell = Cell(text)
        self._cells[self._client.complete(code, cursor)] = cell
        self.wait(lambda: cell.done)
        assert cell.status == "ok", cell
        start, end = cell.reply["cursor_start"], cell.reply["cursor_end"]
        return [code[:start] + match + code[end:] for match in cell.reply["matches"]]

    def interrupt(self) -> None:
        self._manager.interrupt_kernel()

    def shut_down(self) -> None:
        """End it as a front end does: it is asked to."""
        self._manager.shutdown_kernel(now=False)

    def restart(self) -> None:
        """End it so, and start another in its place."""
        self._manager.restart_kernel(now=False)
        self._client.wait_for_ready(timeout=60)

    def kill(self) -> None:
        """End it without a word, as the system does where memory is short."""
        self._manager.shutdown_kernel(now=True)

    def _take(self, get: Callable[..., Any], use: Callable[[Cell, Any], None]) -> None:
        try:
            message = get(timeout=0.02)
        except queue.Empty:
            return
        cell = self._cells.get(message["parent_header"].get("msg_id"))
        if cell is not None:
            use(cell, message)

    def _published(self, cell: Cell, message: Any) -> None:
        kind, content = message["msg_type"], message["content"]
        if kind in ("stream", "display_data", "update_display_data", "execute_result"):
            cell.messages.append((time.monotonic(), kind))
        place = content.get("transient", {}).get("display_id")
        if place is not None:
            owner = next((each for each in self._cells.values() if place in each.displays), cell)
            owner.displays.setdefault(place, []).append(content["data"].get("text/plain", ""))
            return
        if kind == "stream":
            cell.streams.append((content["name"], content["text"]))
        elif kind in ("execute_result", "display_data"):
            cell.results.append(content["data"].get("text/plain", ""))
        elif kind == "error":
            cell.error = content["ename"], content["evalue"]
            cell.traceback = "\n".join(content["traceback"])
        elif kind == "status" and content["execution_state"] == "idle":
            cell.idle = True

    def _replied(self, cell: Cell, message: Any) -> None:
        if message["msg_type"] in ("execute_reply", "complete_reply"):
            cell.reply = message["content"]
            cell.status = cell.reply["status"]


class Subshell:
    """A second line of execution in a kernel, which ipykernel 7 has and ipykernel 6 has not."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._client: Any = kernel._client
        session = self._client.session
        self._client.control_channel.send(session.msg("create_subshell_request"))
        self._id = self._client.get_control_msg(timeout=60)["content"]["subshell_id"]

    @staticmethod
    def possible(kernel: Kernel) -> bool:
        client: Any = kernel._client
        about = client.kernel_info(reply=True, timeout=60)["content"]
        return "kernel subshells" in about.get("supported_features", ())

    def send(self, source: str) -> Cell:
        # Without history, of which IPython 8 keeps only one line of execution.
        content = {"code": source, "silent": False, "store_history": False, "allow_stdin": False}
        message = self._client.session.msg("execute_request", content)
        message["header"]["subshell_id"] = self._id
        cell = Cell(source)
        self._kernel._cells[message["header"]["msg_id"]] = cell
        self._client.shell_channel.send(message)
        return cell

    def tell(self, comm: str, data: dict[str, Any]) -> None:
        """Send what a page says of a widget."""
        message = self._client.session.msg("comm_msg", {"comm_id": comm, "data": data})
        message["header"]["subshell_id"] = self._id
        self._client.shell_channel.send(message)
