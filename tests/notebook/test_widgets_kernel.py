"""The widgets in real kernels, with the ipywidgets that is there: made, shown, used, closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ecs_exec_magic import sandbox

from ..runtimes import WITHOUT_ENGINE
from .kernels import Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with sandbox.start(pace="fast", runtime=WITHOUT_ENGINE) as cluster:
        kernel = Kernel(dict(cluster.environment), str(tmp_path_factory.mktemp("ipython")))
        try:
            kernel.good("%load_ext ecs_exec_magic")
            yield kernel
        finally:
            kernel.close()


def test_the_picker_lists_and_a_choice_is_the_target(kernel: Kernel) -> None:
    kernel.good("picker = %ecs_pick\nassert picker.wait(60)")
    assert "nginx, sidecar" in kernel.value("picker.text()")
    kernel.good(
        "box = picker._box\n"
        "import time; time.sleep(0.5)  # a list that has just changed takes no choice\n"
        "box.index = [0, 1]"
    )
    assert "2 containers are picked" in kernel.value("picker.text()")
    kernel.good("r = %ecs_exec --all hostname")
    assert kernel.value("len(r), r.ok, set(r) == set(picker.value)") == "(2, True, True)"
    kernel.good("box.index = [0]")
    kernel.good("t = %ecs_target")
    assert kernel.value("t.address == picker.value[0], t.container") == "(True, 'nginx')"


def test_the_panel_runs_beside_cells(kernel: Kernel) -> None:
    kernel.good("%ecs_target demo/worker")
    kernel.good("panel = picker.panel; panel.run('echo from the panel; exit 7')")
    assert kernel.good("print('a cell')").stdout == "a cell\n"
    kernel.good("assert panel.wait(60)")
    assert kernel.value("panel.result.stdout, panel.result.exit_code") == "('from the panel\\n', 7)"
    assert kernel.value("panel.line").endswith("-- echo from the panel; exit 7'")
    assert kernel.value("'from the panel' in panel._output.value") == "True"


def test_the_form_shows_the_plan(kernel: Kernel) -> None:
    kernel.good("from ecs_exec_magic.notebook.widgets import ProvisionForm\nform = ProvisionForm()")
    assert "%ecs_provision" in kernel.value("form.text()")
    kernel.good("form.close()")


def test_the_terminal_opens_when_it_is_shown_and_ends_with_the_magics(kernel: Kernel) -> None:
    kernel.good("from ecs_exec_magic.notebook.widgets import Terminal\nt = Terminal('demo/worker')")
    kernel.good(
        "import time\n"
        "t._handle_custom_msg({'kind': 'hello', 'view': 'v', 'from': None, 'columns': 80,"
        " 'rows': 24}, [])\n"
        "end = time.monotonic() + 60\n"
        "while t.state != 'open' and time.monotonic() < end: time.sleep(0.05)"
    )
    assert kernel.value("t.state") == "'open'"
    kernel.good("%unload_ext ecs_exec_magic")
    assert kernel.value("t.state") == "'closed'"
