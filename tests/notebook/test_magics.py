"""The magics in a shell of this process, against a client that behaves as told."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.error import UsageError
from IPython.utils.capture import capture_output
from traitlets import TraitError

from ecs_exec_magic import errors
from ecs_exec_magic.notebook import extension
from ecs_exec_magic.notebook.choice import Choice
from ecs_exec_magic.results import CommandResult

if TYPE_CHECKING:
    from ecs_exec_magic.notebook.magics import EcsExec

    from .conftest import World


pytestmark = pytest.mark.kernel


def run(shell: Any, cell: str) -> Any:
    """Run a cell as a notebook does; raise what it raised."""
    with capture_output():
        outcome = shell.run_cell(cell)
    outcome.raise_error()
    return outcome.result


@pytest.fixture
def targeted(shell: Any, world: World) -> Any:
    run(shell, "%ecs_target demo/web:nginx")
    return shell


# -- %ecs_target ---------------------------------------------------------------------------------


def test_a_target_is_looked_up_once_and_kept(targeted: Any, world: World) -> None:
    first = run(targeted, "%ecs_target")
    run(targeted, "%ecs_exec ls")
    run(targeted, "%ecs_exec ls")
    assert run(targeted, "%ecs_target") is first
    assert first.address == f"demo/{1:032x}:nginx"
    assert len(world.clients) == 1
    assert len(world.client.asked) == 1
    run(targeted, "%ecs_target demo/web:nginx")
    assert len(world.client.asked) == 2, "setting it again looks it up again"


def test_without_a_target_it_says_so(shell: Any) -> None:
    with capture_output() as shown:
        shell.run_cell("%ecs_target")
    assert shown.stdout == "no target is set; %ecs_target CLUSTER/SERVICE:CONTAINER sets one\n"
    with pytest.raises(errors.InvalidRequest, match="no target is set") as caught:
        run(shell, "%ecs_exec ls")
    assert "%ecs_target" in caught.value.cure
    with pytest.raises(errors.InvalidRequest, match="--container alone"):
        run(shell, "%ecs_target --container nginx")


def test_clear(targeted: Any, magics: EcsExec) -> None:
    run(targeted, "%ecs_target --clear")
    assert magics.target == ""
    with pytest.raises(errors.InvalidRequest):
        run(targeted, "%ecs_exec ls")
    with pytest.raises(UsageError, match="--clear stands alone"):
        run(targeted, "%ecs_target demo/web --clear")


def test_a_slip_leaves_the_old_target(targeted: Any, magics: EcsExec) -> None:
    with pytest.raises(errors.TargetNotFound):
        run(targeted, "%ecs_target nowhere --region us-east-1")
    assert magics.target == "demo/web:nginx"
    assert magics.region is None
    with pytest.raises(UsageError, match="one address is enough"):
        run(targeted, "%ecs_target a b")


def test_settings_make_a_new_client(targeted: Any, world: World) -> None:
    run(targeted, "%ecs_target --region us-east-1 --profile p --endpoint-url http://h --cluster c")
    run(targeted, "%ecs_exec ls")
    assert world.client.settings == {
        "region": "us-east-1",
        "profile": "p",
        "endpoint_url": "http://h",
        "cluster": "c",
        "bridge": "thread",
    }
    assert len(world.clients) == 2
    run(targeted, "%config EcsExec.bridge = 'nest'")
    run(targeted, "%ecs_exec ls")
    assert world.client.settings["bridge"] == "nest"
    assert len(world.clients) == 3


def test_new_keys_in_the_environment_make_a_new_client(
    targeted: Any, world: World, monkeypatch: pytest.MonkeyPatch, magics: EcsExec
) -> None:
    monkeypatch.setitem(os.environ, "AWS_SECRET_ACCESS_KEY", "hush-hush")
    run(targeted, "%ecs_exec ls")
    assert len(world.clients) == 2
    assert "hush-hush" not in repr(vars(magics))


def test_a_cluster_with_a_name_is_of_that_target_only(
    shell: Any, magics: EcsExec, world: World
) -> None:
    run(shell, "%ecs_target --service web --container nginx --cluster prod")
    assert magics.cluster is None
    assert world.client.asked[-1] == (
        None,
        {
            "cluster": "prod",
            "service": "web",
            "task": None,
            "family": None,
            "container": "nginx",
        },
    )
    assert magics.target == f"prod/{1:032x}:nginx"
    run(shell, "%ecs_exec ls")
    assert len(world.client.asked) == 1


def test_check_runs_something_there(targeted: Any, world: World) -> None:
    run(targeted, "%ecs_target --check")
    assert [(kind, command) for kind, command, _ in world.client.calls] == [("run", "true")]
    assert len(world.client.asked) == 2


def test_target_by_configuration(shell: Any, magics: EcsExec, world: World) -> None:
    run(shell, "%config EcsExec.target = 'demo/web:nginx'")
    assert world.clients == []
    run(shell, "%ecs_exec ls")
    assert world.client.asked[0][0] == "demo/web:nginx"
    with pytest.raises(TraitError, match="is not an address"):
        magics.target = "a/b/c:d:e"
    with pytest.raises(TraitError, match="not a number of seconds"):
        magics.timeout = -1.0
    with pytest.raises(TraitError):
        magics.bridge = "bifrost"


# -- which container a line means ----------------------------------------------------------------


def test_a_line_means_its_own_target(targeted: Any, world: World) -> None:
    run(targeted, "%ecs_exec -t demo/worker:worker ls")
    run(targeted, "%ecs_exec --container sidecar ls")
    run(targeted, "%ecs_exec ls")
    asked = [(address, words["container"]) for address, words in world.client.asked]
    assert asked == [
        ("demo/web:nginx", None),
        ("demo/worker:worker", None),
        ("demo/web", "sidecar"),
    ]


def test_a_regions_line_does_not_move_the_default(targeted: Any, world: World) -> None:
    run(targeted, "%ecs_exec --region us-east-1 ls")
    run(targeted, "%ecs_exec ls")
    assert [len(client.asked) for client in world.clients] == [1, 1]


@pytest.mark.parametrize(
    ("default", "line", "meant"),
    [
        (Choice("c/a:x"), {}, Choice("c/a:x")),
        (Choice("c/a:x"), {"target": "b"}, Choice("b")),
        (Choice("c/a:x"), {"task": "t"}, Choice(task="t")),
        (Choice("c/a:x"), {"container": "y"}, Choice("c/a", container="y")),
        (Choice("c/a:x"), {"cluster": "d"}, Choice("a:x", cluster="d")),
        (Choice(service="a"), {"container": "y"}, Choice(service="a", container="y")),
        (Choice(), {"container": "y"}, Choice()),
        (
            Choice("arn:aws:ecs:eu-west-1:123456789012:task/c/t:x"),
            {"container": "y"},
            Choice("arn:aws:ecs:eu-west-1:123456789012:task/c/t", container="y"),
        ),
    ],
)
def test_overriding(default: Choice, line: dict[str, str], meant: Choice) -> None:
    assert default.overridden(line) == meant


# -- running -------------------------------------------------------------------------------------

COMMANDS = [
    "ls -l /",
    "echo  'two  blanks'   ",
    "awk '{print $1}' {x} $x",
    "echo (",
    "echo \"it's",
    r"find . -name '*.py' -exec wc -l {} \;",
    "grep é /ünï/文件",
    "a | b && c > /dev/null 2>&1 &",
    "printf '%s\\n' \"$HOME\" `id`",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_arrives_as_it_was_typed(targeted: Any, world: World, command: str) -> None:
    targeted.user_ns["x"] = 5
    for prefix in ("", "--quiet ", "--timeout=3 -- "):
        result = run(targeted, f"r = %ecs_exec {prefix}{command}\nr")
        # IPython itself drops blanks at the end of a line
        assert world.client.calls[-1][:2] == ("run", command.rstrip())
        assert isinstance(result, CommandResult)


def test_a_semicolon_hides_the_result(targeted: Any, world: World) -> None:
    assert run(targeted, "%ecs_exec ls;") is None
    assert world.client.calls[-1][1] == "ls;"
    assert run(targeted, "%ecs_exec find . -exec rm {} \\;") is not None


def test_a_script_arrives_as_it_was_typed(targeted: Any, world: World) -> None:
    body = "set -e\n\n  echo {x} $HOME 'a\n b'  \n\\\n"
    targeted.run_cell_magic("ecs_shell", "--quiet", body)
    kind, script, how = world.client.calls[-1]
    assert (kind, script, how["shell"]) == ("script", body, "/bin/sh")
    targeted.run_cell_magic("ecs_shell", "--shell /bin/bash --timeout 4", "x\n")
    assert world.client.calls[-1][2]["shell"] == "/bin/bash"
    assert world.client.calls[-1][2]["timeout"] == 4.0


def test_what_a_run_is_told(targeted: Any, world: World, magics: EcsExec) -> None:
    run(targeted, "%ecs_exec --quiet ls")
    assert world.client.calls[-1][2] == {
        "stdin": None,
        "timeout": None,
        "check": False,
        "method": "execute-command",
        "on_output": None,
        "on_notice": None,
        "on_tick": None,
    }
    magics.timeout = 9.0
    magics.method = "start-session"
    run(targeted, "%ecs_exec ls")
    assert world.client.calls[-1][2]["timeout"] == 9.0
    assert world.client.calls[-1][2]["method"] == "start-session"


def test_output_is_shown_where_the_cell_is(targeted: Any) -> None:
    with capture_output() as shown:
        targeted.run_cell("r = %ecs_exec --no-raise fail")
    assert shown.stdout == "out of fail\n"
    assert shown.stderr == "waiting for a free session\noops\n"
    with capture_output() as shown:
        targeted.run_cell("r = %ecs_exec --quiet --no-raise fail")
    assert (shown.stdout, shown.stderr) == ("", "")
    run(targeted, "%%capture c\n%ecs_exec ls")
    assert targeted.user_ns["c"].stdout == "out of ls\n"


def test_the_result_does_not_repeat_the_output(targeted: Any) -> None:
    with capture_output() as shown:
        targeted.run_cell("%ecs_exec ls")
    assert shown.stdout.count("out of ls") == 1
    assert len(shown.outputs) <= 1


def test_names(targeted: Any) -> None:
    run(targeted, "%ecs_exec -o r --stdout a --stderr b --no-raise fail")
    names = targeted.user_ns
    assert (names["r"].exit_code, names["a"], names["b"]) == (3, "out of fail\n", "oops\n")


@pytest.mark.parametrize("word", ["fail", "interrupt", "lose", "timeout"])
@pytest.mark.parametrize(
    "magic", ["%ecs_exec -o r --stdout a {}", "%%ecs_shell -o r --stdout a\n{}"]
)
def test_names_are_bound_however_it_ends(
    targeted: Any, word: str, magic: str, world: World
) -> None:
    names = targeted.user_ns
    names["r"] = names["a"] = "old"

    def look() -> None:
        assert names["r"] is None
        assert names["a"] is None

    world.client.on_run = look
    with pytest.raises((errors.EcsExecError, errors.Interrupted)):
        run(targeted, magic.format(word))
    assert isinstance(names["r"], CommandResult)
    assert names["a"] == f"out of {word}\n"


def test_names_are_none_when_nothing_ran(targeted: Any) -> None:
    targeted.user_ns["r"] = "old"
    with pytest.raises(errors.TargetNotFound):
        run(targeted, "%ecs_exec -t nowhere -o r ls")
    assert targeted.user_ns["r"] is None


@pytest.mark.parametrize(
    "line",
    [
        "%ecs_exec",
        "%ecs_exec --quiet",
        "%ecs_exec -o 1x ls",
        "%ecs_exec -o r --stdout r ls",
        "%ecs_exec --stdin missing ls",
        "%ecs_exec --stdin number ls",
        "%ecs_exec --nonsense ls",
        "%%ecs_shell ls\nls",
        "%%ecs_shell\n   \n",
        "%%ecs_shell -o if\nls",
    ],
)
def test_usage_errors_run_nothing_and_take_one_line(targeted: Any, world: World, line: str) -> None:
    targeted.user_ns.update(r="old", number=5)
    with capture_output() as shown:
        outcome = targeted.run_cell(line)
    assert type(outcome.error_in_exec) is UsageError
    assert world.client.calls == []
    assert targeted.user_ns["r"] == "old"
    assert shown.stderr.count("\n") == 1
    assert shown.stderr.startswith("UsageError: %")


def test_failures_raise_unless_told_otherwise(targeted: Any, magics: EcsExec) -> None:
    with pytest.raises(errors.CommandFailed) as caught:
        run(targeted, "%ecs_exec fail")
    assert caught.value.result.exit_code == 3
    assert run(targeted, "%ecs_exec --no-raise-error fail").exit_code == 3
    assert run(targeted, "%ecs_exec --no-raise fail").exit_code == 3
    magics.raise_on_error = False
    assert run(targeted, "%ecs_exec fail").exit_code == 3
    assert run(targeted, "%ecs_exec timeout").timed_out
    assert run(targeted, "%ecs_exec --timeout 7 timeout").timed_out, "raised by the client itself"
    with pytest.raises(errors.SessionLost):
        run(targeted, "%ecs_exec lose")
    with pytest.raises(errors.Interrupted):
        run(targeted, "%ecs_exec interrupt")


def test_a_failure_shows_at_most_five_lines(targeted: Any) -> None:
    with capture_output() as shown:
        targeted.run_cell("%ecs_exec fail")
    lines = (shown.stdout + shown.stderr).splitlines()
    error = [line for line in lines if "CommandFailed" in line]
    assert len(error) == 1
    assert len(lines) <= 3 + 5
    assert not any("Traceback" in line or "magics.py" in line for line in lines)


@pytest.mark.parametrize(
    "value", ["text", b"bytes", io.BytesIO(b"file"), [b"a", b"b"], iter(["x"])]
)
def test_stdin(targeted: Any, world: World, value: Any) -> None:
    targeted.user_ns["given"] = value
    run(targeted, "%ecs_exec --stdin given cat")
    assert world.client.calls[-1][2]["stdin"] is value


def test_values_are_filled_in_and_commands_are_not(targeted: Any, world: World) -> None:
    targeted.user_ns.update(where="demo/worker", seconds=4, choice={"name": "r"}, self="self")
    run(
        targeted,
        "%ecs_exec -t {where}:worker --timeout $seconds -o '{choice[\"name\"]}' echo {where}",
    )
    assert world.client.asked[-1][0] == "demo/worker:worker"
    assert world.client.calls[-1][1] == "echo {where}"
    assert world.client.calls[-1][2]["timeout"] == 4.0
    assert isinstance(targeted.user_ns["r"], CommandResult)
    with pytest.raises(UsageError, match=r"cannot fill in '\{wehre\}': name 'wehre' is not"):
        run(targeted, "%ecs_exec -t {wehre} ls")
    with pytest.raises(UsageError, match="name 'parsed' is not defined"):
        run(targeted, "%ecs_exec -t {parsed} ls")


def test_local_variables_count(targeted: Any, world: World) -> None:
    run(
        targeted,
        "def f(place, sent):\n"
        "    r = %ecs_exec -t {place} --stdin sent cat\n"
        "    return r\n"
        "f('demo/here:c', 'hello')",
    )
    assert world.client.asked[-1][0] == "demo/here:c"
    assert world.client.calls[-1][2]["stdin"] == "hello"


# -- help ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["%ecs_exec", "%ecs_target", "%%ecs_shell"])
def test_help_is_the_same_by_every_way(shell: Any, world: World, name: str) -> None:
    body = "\nx" if name.startswith("%%") else ""
    with capture_output() as shown:
        outcome = shell.run_cell(f"{name} --help{body}")
    assert outcome.success
    assert outcome.result is None
    assert f"{name} [OPTIONS]" in shown.stdout
    with capture_output() as again:
        shell.run_cell(f"{name} ?{body}")
    assert again.stdout == shown.stdout
    function = shell.find_magic(name.lstrip("%"), "cell" if body else "line")
    assert function.__doc__ == shown.stdout
    assert world.clients == []


def test_the_question_mark_of_ipython_works(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[Any] = []
    monkeypatch.setattr("IPython.core.page.page", lambda data, *rest: pages.append(data))
    run(shell, "%ecs_exec?")
    assert "--no-raise-error" in str(pages[0])


# -- lifecycle -----------------------------------------------------------------------------------


def test_unloading_leaves_nothing(shell: Any, magics: EcsExec, world: World) -> None:
    run(shell, "%ecs_target demo/web:nginx")
    extension.unload(shell)
    assert world.client.closed
    assert magics not in shell.configurables
    assert "EcsExec" not in shell.magics_manager.registry
    left = {name for table in shell.magics_manager.magics.values() for name in table}
    assert not any(str(name).startswith("ecs_") for name in left)
    extension.unload(shell)


def test_loading_twice_leaves_one(shell: Any) -> None:
    extension.load(shell)
    extension.load(shell)
    ours = [each for each in shell.configurables if type(each).__name__ == "EcsExec"]
    assert len(ours) == 1
    run(shell, "%config EcsExec.timeout = 5")
    assert ours[0].timeout == 5.0
    assert shell.find_line_magic("ecs_exec").__self__ is ours[0]


def test_someone_elses_magic_of_our_name_stays(shell: Any) -> None:
    def ecs_exec(line: str) -> str:
        return "theirs"

    shell.register_magic_function(ecs_exec, "line", "ecs_exec")
    extension.unload(shell)
    assert shell.run_line_magic("ecs_exec", "") == "theirs"


def test_configuration_of_the_profile_counts(shell: Any) -> None:
    extension.unload(shell)
    shell.config.EcsExec.target = "demo/web:nginx"
    shell.config.EcsExec.timeout = 3
    extension.load(shell)
    magics = shell.magics_manager.registry["EcsExec"]
    assert (magics.target, magics.timeout) == ("demo/web:nginx", 3.0)
    assert isinstance(run(shell, "%ecs_exec ls"), CommandResult)
