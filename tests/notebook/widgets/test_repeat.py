"""The line that repeats a click is read as what was clicked."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from ecs_exec_magic.address import ContainerRef
from ecs_exec_magic.notebook.magics import EXEC_LINE, SHELL_CELL
from ecs_exec_magic.notebook.widgets.repeat import exec_line, lasting_address

one_line = st.text(
    st.characters(exclude_characters="\n\r\x00", exclude_categories=["Cs"]), min_size=1
).filter(str.strip)


@given(one_line, st.sampled_from(["", "prod/web:nginx", "prod/0123abcd:web"]), st.booleans())
@example("-la", "", False)
@example("--help", "", True)
@example("?", "", False)
@example("what?", "prod/web:nginx", False)
@example("echo {x} $y 'a  b' ;", "", False)
@example("trailing \\", "", False)
def test_the_magics_read_it_as_it_was_meant(command: str, address: str, many: bool) -> None:
    cell = exec_line(command, address, many=many)
    first, _, body = cell.partition("\n")
    name, _, rest = first.partition(" ")
    assert name in ("%ecs_exec", "%%ecs_shell")
    # IPython takes a line that ends in ? for a question, and no magic sees it.
    assert not first.rstrip().endswith("?")
    parsed = (EXEC_LINE if name == "%ecs_exec" else SHELL_CELL).parse(rest)
    assert not parsed.help
    assert (body if name == "%%ecs_shell" else parsed.rest).strip() == command.strip()
    assert (parsed["target"] or "") == address
    assert parsed["all"] is many


def ref(task: str, service: str | None = "web", container: str = "nginx") -> ContainerRef:
    return ContainerRef("prod", service, "fam", task * 32, "arn", container, "r", "eu-west-1")


def test_a_service_outlasts_its_tasks() -> None:
    assert lasting_address([ref("a"), ref("b")]) == "prod/web:nginx"
    assert lasting_address([ref("a")]) == "prod/web:nginx"
    assert lasting_address([ref("a", None)]) == f"prod/{'a' * 32}:nginx"
    assert lasting_address([ref("a"), ref("b", container="sidecar")]) == ""
