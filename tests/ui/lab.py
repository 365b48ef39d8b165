"""A real JupyterLab on a practice cluster, in a real Chromium."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import nbformat
from playwright.sync_api import Error, sync_playwright

from ecs_exec_magic import sandbox

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playwright.sync_api import Browser, Locator, Page

__all__ = ["PATIENCE", "SHOTS", "Lab", "Notebook", "chromium"]

SHOTS = Path(__file__).parent / "shots"
"""Where screenshots go; they are not committed."""

PATIENCE = 90_000
"""Milliseconds that anything in the browser may take on a busy machine."""

_DARK = "JupyterLab Dark"
_LIGHT = "JupyterLab Light"
_SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    # A cell that is scrolled out of view would have no text.
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str | None:
    """The path of Debian's Chromium, or of another."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


class Lab:
    """JupyterLab and Chromium; close it when done."""

    def __init__(self, executable: str, *, pace: str = "fast", **cluster: Any) -> None:
        # Short: the names of kernels' sockets lie below it, and have at most 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="ecs"))
        self._server: subprocess.Popen[bytes] | None = None
        self._playwright = None
        self._browser: Browser | None = None
        self._count = 0
        self.cluster = sandbox.start(pace=pace, **cluster)
        try:
            self.url = self._serve()
            self._playwright = sync_playwright().start()
            self._browser = self._playwright.chromium.launch(
                executable_path=executable, args=list(_ARGUMENTS)
            )
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End everything that was started."""
        try:
            if self._browser is not None:
                self._browser.close()
            if self._playwright is not None:
                self._playwright.stop()
            if self._server is not None:
                self._server.send_signal(signal.SIGTERM)
                try:
                    self._server.wait(20)
                except subprocess.TimeoutExpired:
                    self._server.kill()
                    self._server.wait()
        finally:
            self.cluster.stop()
            shutil.rmtree(self.directory, ignore_errors=True)

    def open(
        self, *cells: str, dark: bool = False, width: int = 1100, height: int = 900
    ) -> Notebook:
        """Open a notebook of code cells and wait until its kernel is idle; nothing is run."""
        self._count += 1
        name = f"notebook{self._count}.ipynb"
        self._write(self.directory / "books" / name, cells)
        assert self._browser is not None
        context = self._browser.new_context(viewport={"width": width, "height": height})
        # The clipboard is a matter of permission, which a user at the keyboard has.
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=self.url)
        context.set_default_timeout(PATIENCE)
        # In a workspace of its own: a window would open the others' notebooks again, too.
        url = f"{self.url}/lab/workspaces/window{self._count}/tree/{name}"
        notebook = Notebook(context.new_page(), url)
        notebook.load()
        notebook.theme(dark)
        return notebook

    def _write(self, path: Path, cells: Sequence[str]) -> None:
        new: Any = nbformat.v4  # untyped
        book = new.new_notebook(cells=[new.new_code_cell(source) for source in cells])
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        path.write_text(json.dumps(book), "utf-8")

    def _serve(self) -> str:
        settings = self.directory / "config" / "labconfig"
        settings.mkdir(parents=True)
        overrides = settings / "default_setting_overrides.json"
        overrides.write_text(json.dumps(_SETTINGS), "utf-8")
        (self.directory / "books").mkdir()
        runtime = self.directory / "r"
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "JUPYTER"))},
            **self.cluster.environment,
            "JUPYTERLAB_SETTINGS_DIR": str(self.directory / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(self.directory / "workspaces"),
            "JUPYTER_RUNTIME_DIR": str(runtime),
            "JUPYTER_CONFIG_DIR": str(self.directory / "config"),
            "JUPYTER_DATA_DIR": str(self.directory / "data"),
            "IPYTHONDIR": str(self.directory / "ipython"),
            # The kernel of this very environment, whatever others are installed.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        log = (self.directory / "server.log").open("wb")
        with log:
            self._server = subprocess.Popen(
                [
                    *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                    "--ServerApp.ip=127.0.0.1",
                    f"--ServerApp.port={random.randint(20000, 50000)}",
                    "--ServerApp.port_retries=100",
                    "--IdentityProvider.token=",
                    f"--ServerApp.root_dir={self.directory / 'books'}",
                    "--LabApp.expose_app_in_browser=True",
                    "--LabApp.extension_manager=readonly",
                    # A free TCP port may be taken again before the kernel binds it.
                    "--KernelManager.transport=ipc",
                ],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self._listening(self._server, runtime)

    def _listening(self, server: subprocess.Popen[bytes], runtime: Path) -> str:
        end = time.monotonic() + 180
        while time.monotonic() < end:
            if server.poll() is not None:
                break
            for file in runtime.glob("jpserver-*.json"):
                try:
                    url = str(json.loads(file.read_text("utf-8"))["url"]).rstrip("/")
                    with urlopen(f"{url}/api", timeout=10):
                        return url
                except (OSError, ValueError):
                    pass  # half written, or not listening yet
            time.sleep(0.1)
        text = (self.directory / "server.log").read_text("utf-8", "replace")
        raise AssertionError(f"JupyterLab did not start:\n{text[-3000:]}")


class Notebook:
    """One notebook in one browser window.

    Attributes:
        page: Playwright's.
        problems: errors that the page's console has told of.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))

    def load(self) -> None:
        """Load, or load again, and wait until the kernel is idle."""
        self.page.goto(self.url)
        self.page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.sessionContext")
        # Until the layout is restored JupyterLab still moves the focus by itself.
        self.page.evaluate("() => jupyterapp.restored.then(() => jupyterapp.shell.collapseLeft())")
        self.idle()

    def idle(self) -> None:
        """Wait until the kernel is connected and idle."""
        self.page.wait_for_function(
            """() => {
                const kernel = jupyterapp.shell.currentWidget.sessionContext.session?.kernel;
                return kernel?.connectionStatus === 'connected' && kernel.status === 'idle';
            }"""
        )

    def run_all(self) -> None:
        """Run all cells; returns at once."""
        self.page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells') }")

    def run(self, index: int) -> None:
        """Run one cell; returns at once."""
        self.page.evaluate(
            """(index) => {
                jupyterapp.shell.currentWidget.content.activeCellIndex = index;
                jupyterapp.commands.execute('notebook:run-cell');
            }""",
            index,
        )

    def done(self, index: int) -> None:
        """Wait until a cell has run."""
        self.page.wait_for_function(
            """(index) => {
                const cell = jupyterapp.shell.currentWidget.content.widgets[index];
                return /^\\[\\d+\\]:/.test(cell.inputArea.promptNode.innerText);
            }""",
            arg=index,
        )

    def execute(self, source: str) -> str:
        """Run code in the kernel beside the cells, and return what it prints."""
        printed: str = self.page.evaluate(
            """async (code) => {
                const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                const future = kernel.requestExecute({code, store_history: false});
                let text = '';
                future.onIOPub = ({header, content}) => {
                    if (header.msg_type === 'stream') text += content.text;
                    if (header.msg_type === 'error') text += content.traceback.join('\\n');
                };
                await future.done;
                return text;
            }""",
            source,
        )
        return printed

    def cell(self, index: int) -> Locator:
        """A cell."""
        return self.page.locator(".jp-Notebook-cell").nth(index)

    def output(self, index: int) -> Locator:
        """What a cell shows."""
        return self.cell(index).locator(".jp-OutputArea").first

    def theme(self, dark: bool) -> None:
        """Switch to the dark or the light theme."""
        self.page.evaluate(
            "(theme) => jupyterapp.commands.execute('apputils:change-theme', {theme})",
            _DARK if dark else _LIGHT,
        )
        self.page.wait_for_function(
            "(light) => document.body.dataset.jpThemeLight === light", arg=str(not dark).lower()
        )

    def shot(self, name: str, index: int | None = None) -> Path:
        """Take a screenshot of the window, or of one cell, into :data:`SHOTS`."""
        SHOTS.mkdir(exist_ok=True)
        path = SHOTS / f"{name}.png"
        if index is None:
            self.page.screenshot(path=path)
        else:
            self.cell(index).screenshot(path=path)
        return path

    def close(self) -> None:
        """End the kernel and close the window.

        Raises:
            AssertionError: the page's console has told of errors.
        """
        try:
            self.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        except Error as error:
            self.problems.append(f"no shutdown: {error}")
        self.page.context.close()
        assert not self.problems, self.problems
