"""Completion in a shell of this process, against an account that is slow, broken or shut."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core import completer as ipython
from IPython.core.completer import provisionalcompleter

from ecs_exec_magic import client
from ecs_exec_magic.errors import InvalidRequest
from ecs_exec_magic.notebook import extension
from ecs_exec_magic.notebook.cache import Cache

from .test_cache import ended

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import World

A1, A2, B1, C1, D1 = (f"000000{n}0123456789abcdef01234567" for n in ("a1", "a2", "b1", "c1", "d1"))
WHOLE_CELLS = pytest.mark.skipif(
    not hasattr(ipython, "context_matcher"), reason="before IPython 8.6 completers see one line"
)
IDS = {f"prod/{each}" for each in (A1, A2, B1, C1)}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A loaded machine is no reason to complete nothing."""
    monkeypatch.setattr(Cache, "deadline", lambda cache: cache._clock() + 20)
    yield
    ended()


def completed(shell: Any, marked: str) -> list[str]:
    """The texts that completing at the mark ¦ can make of a cell."""
    cursor, cell = marked.index("¦"), marked.replace("¦", "")
    with provisionalcompleter():
        found = list(shell.Completer.completions(cell, cursor))
    return [cell[: each.start] + each.text + cell[each.end :] for each in found]


def words(shell: Any, marked: str) -> set[str]:
    """What may stand at the mark, with all of the word that is there; nothing else changes."""
    before, _, after = marked.partition("¦")
    start = before.rstrip("\t ").rfind(" ") + 1 if before[-1:] != " " else len(before)
    made = completed(shell, marked)
    assert all(each.startswith(before[:start]) and each.endswith(after) for each in made), made
    return {each[start : len(each) - len(after)] for each in made}


# -- options -------------------------------------------------------------------------------------


def test_names_of_options(shell: Any, world: World) -> None:
    assert words(shell, "%ecs_exec --t¦") == {"--tag", "--target", "--task", "--timeout"}
    assert words(shell, "%ecs_exec -¦") >= {"-t", "--target", "-o", "--out", "--no-raise"}
    assert words(shell, "%ecs_exec ¦ ls") >= {"--target", "--quiet"}
    assert words(shell, "%ecs_exec --quiet -t x --t¦ ls") == {"--tag", "--task", "--timeout"}
    assert words(shell, "%ecs_sandbox --p¦") == {"--port", "--pace"}
    assert words(shell, "%%ecs_shell --sh¦\nls") == {"--shell"}
    assert world.clients == [], "nothing of AWS is needed for that"


def test_names_of_options_load_no_aws_library() -> None:
    code = (
        "import sys\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "from IPython.core.completer import provisionalcompleter\n"
        "from traitlets.config import Config\n"
        "import threading\n"
        "config = Config()\n"
        "config.HistoryManager.enabled = False\n"
        "shell = InteractiveShell.instance(config=config)\n"
        "shell.run_line_magic('load_ext', 'ecs_exec_magic')\n"
        "with provisionalcompleter():\n"
        "    found = list(shell.Completer.completions('%ecs_exec --ti', 14))\n"
        "assert [each.text for each in found] == ['--timeout'], found\n"
        "assert not {'boto3', 'botocore', 'picows'} & set(sys.modules)\n"
        "assert threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=150)


def test_choices(shell: Any) -> None:
    assert words(shell, "%ecs_sandbox --pace ¦") == {"real", "fast"}
    assert words(shell, "%ecs_sandbox ¦") == {"up", "status", "down"}
    assert words(shell, "%ecs_sandbox s¦") == {"status"}
    assert words(shell, "%%ecs_shell --shell py¦\n1") == {"python3"}


# -- addresses -----------------------------------------------------------------------------------

WHERE = ["%ecs_target {}", "%ecs_exec -t {}", "%ecs_exec --target {} ls", "x = %ecs_exec -t {} ls"]


@pytest.mark.parametrize("form", [*WHERE, "1\n  %ecs_exec --quiet -t {}", "%%ecs_shell -t {}\nls"])
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("", {"demo/", "prod/"}),
        ("p", {"prod/"}),
        ("prod/", {"prod/web", "prod/worker", "prod/batch", *IDS}),
        ("prod/w", {"prod/web", "prod/worker"}),
        ("prod/web", {"prod/web", "prod/web:nginx", "prod/web:sidecar"}),
        ("prod/web:", {"prod/web:nginx", "prod/web:sidecar"}),
        ("prod/web:s", {"prod/web:sidecar"}),
        ("prod/worker:", {"prod/worker:main", "prod/worker:aws-guardduty-agent"}),
        ("prod/batch:", {"prod/batch:app"}),
        ("prod/000000b", {f"prod/{B1}"}),
        (f"prod/{A1}:", {f"prod/{A1}:nginx", f"prod/{A1}:sidecar"}),
        ("prod/000000a:n", {"prod/000000a:nginx"}),
        (
            f"arn:aws:ecs:eu-west-1:123456789012:task/prod/{A1}:n",
            {f"arn:aws:ecs:eu-west-1:123456789012:task/prod/{A1}:nginx"},
        ),
        (
            "arn:aws:ecs:eu-west-1:123456789012:service/prod/web:n",
            {"arn:aws:ecs:eu-west-1:123456789012:service/prod/web:nginx"},
        ),
    ],
)
def test_addresses(shell: Any, form: str, typed: str, expected: set[str]) -> None:
    assert words(shell, form.format(f"{typed}¦")) == expected


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ("%ecs_exec --target=prod/web:s¦ ls", "%ecs_exec --target=prod/web:sidecar ls"),
        ("%ecs_exec -tprod/web:s¦ ls", "%ecs_exec -tprod/web:sidecar ls"),
        ('%ecs_exec -t "prod/web:s¦" ls', '%ecs_exec -t "prod/web:sidecar" ls'),
        ("%ecs_exec -t 'prod/web:s¦ ls", "%ecs_exec -t 'prod/web:sidecar ls"),
        ("%ecs_exec --cluster=de¦", "%ecs_exec --cluster=demo"),
        ("%ecs_exec --cluster=¦ --quiet", None),
        pytest.param(
            "%ecs_exec \\\n  -t prod/web:s¦ \\\n ls",
            "%ecs_exec \\\n  -t prod/web:sidecar \\\n ls",
            marks=WHOLE_CELLS,
        ),
        ("ecs_target prod/web:s¦", "ecs_target prod/web:sidecar"),
        ("%ecs_exec -t {place}/web:s¦", "%ecs_exec -t {place}/web:sidecar"),
    ],
)
def test_forms(shell: Any, marked: str, expected: str | None) -> None:
    shell.user_ns["place"] = "prod"
    made = completed(shell, marked)
    if expected is None:
        assert made == [marked.replace("¦", each) for each in ("demo", "prod")]
    else:
        assert made == [expected]


def test_order(shell: Any) -> None:
    """What people write is first: services, families, then ids."""
    assert completed(shell, "%ecs_exec -t prod/¦") == [
        f"%ecs_exec -t prod/{name}" for name in ("web", "worker", "batch", A1, A2, B1, C1)
    ]
    assert completed(shell, "%ecs_exec -t prod/worker:¦")[0].endswith(":main")


def test_many_tasks_hide_no_names(shell: Any, world: World) -> None:
    from .account import task

    world.account.tasks += [task(0x1000 + n, "prod", "web", "nginx") for n in range(100)]
    assert words(shell, "%ecs_exec -t prod/¦") == {"prod/web", "prod/worker", "prod/batch"}
    assert len(words(shell, "%ecs_exec -t prod/00¦")) == 104


def test_a_cluster_that_is_named_apart(shell: Any, world: World) -> None:
    assert words(shell, "%ecs_exec --cluster prod -t w¦") == {"web", "worker"}
    assert words(shell, "%ecs_exec -t w¦ --cluster prod ls") == {"web", "worker"}
    assert words(shell, "%ecs_exec --cluster prod -t web:¦") == {"web:nginx", "web:sidecar"}
    shell.run_cell("%config EcsExec.cluster = 'demo'")
    assert words(shell, "%ecs_exec -t ¦") == {"demo/", "prod/", "shop", D1}


def test_listings(shell: Any) -> None:
    assert words(shell, "%ecs_tasks ¦") == {"demo", "prod"}
    assert words(shell, "%ecs_tasks d¦") == {"demo"}
    assert words(shell, "%ecs_tasks demo¦") == {"demo", "demo/shop", f"demo/{D1}"}
    assert words(shell, "%ecs_tasks prod/w¦") == {"prod/web", "prod/worker"}
    assert words(shell, "%ecs_tasks prod --service ¦") == {"web", "worker"}
    assert words(shell, "%ecs_tasks prod/web --container ¦") == {"nginx", "sidecar"}
    assert words(shell, "%ecs_tasks demo --container ¦") == {"till"}


# -- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--cluster ¦", {"demo", "prod"}),
        ("--cluster prod --service ¦", {"web", "worker"}),
        ("--cluster prod --family ¦", {"web", "worker", "batch"}),
        ("--cluster prod --task ¦", {A1, A2, B1, C1}),
        ("--cluster prod --task 000000a¦", {A1, A2}),
        ("--cluster prod --service web --container ¦", {"nginx", "sidecar"}),
        ("--cluster prod --task 000000c1 --container ¦", {"app"}),
        ("--cluster prod --family batch --container ¦", {"app"}),
        ("-t prod/web --container s¦", {"sidecar"}),
    ],
)
def test_values(shell: Any, line: str, expected: set[str]) -> None:
    assert words(shell, f"%ecs_exec {line} ls") == expected


def test_containers_of_the_default_target(shell: Any) -> None:
    shell.run_cell("%ecs_target prod/web:nginx")
    assert words(shell, "%ecs_exec --container ¦ ls") == {"nginx", "sidecar"}
    assert words(shell, "%ecs_target --container s¦") == {"sidecar"}
    assert words(shell, "%ecs_exec -t demo/shop --container ¦ ls") == {"till"}


def test_profiles_and_regions(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "profile_names", lambda: ["ops", "my own"])
    monkeypatch.setattr(client, "region_names", lambda: ["eu-west-1", "us-east-1"])
    assert words(shell, "%ecs_exec --region e¦") == {"eu-west-1"}
    assert completed(shell, "%ecs_exec --profile m¦ ls") == ["%ecs_exec --profile my\\ own ls"]
    assert completed(shell, "%ecs_exec --profile 'm¦' ls") == ["%ecs_exec --profile 'my own' ls"]
    assert completed(shell, "%ecs_exec --profile my\\ o¦") == ["%ecs_exec --profile my\\ own"]


def test_variables(shell: Any) -> None:
    shell.user_ns.update(
        pieces=[b"a"],
        a_number=5,
        a_text="x",
        a_path=Path("/x"),
        a_file=io.BytesIO(),
        some_bytes=b"y",
        module=sys,
        a_class=dict,
        _private="z",
        call=len,
    )
    names = ["a_file", "a_path", "a_text", "some_bytes", "pieces"]
    line = "%ecs_exec --stdin ¦"
    assert completed(shell, line) == [line.replace("¦", name) for name in names]
    expected = {*names, "a_number"}
    assert words(shell, "%ecs_exec -o ¦") == expected
    assert words(shell, "%ecs_exec --stdout ¦ ls") == expected
    assert words(shell, "%ecs_exec --stderr=a_n¦") == {"--stderr=a_number"}


def test_an_object_is_not_asked_what_it_is(shell: Any) -> None:
    class Trap:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"asked for {name}")

    shell.user_ns["trap"] = Trap()
    shell.user_ns["text"] = "x"
    assert words(shell, "%ecs_exec --stdin t¦") == {"text"}


# -- what is not ours ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "marked",
    [
        "%ecs_exec ls prod/w¦",
        "%ecs_exec -t prod/web ls -t prod/w¦",
        "%ecs_exec -- --cl¦",
        "%ecs_exec -t {unknown_name}/w¦",
        "%ecs_exec -t {pla¦",
        "%ecs_exec --timeout ¦",
        "%ecs_exec --endpoint-url ¦",
        pytest.param("%%ecs_shell -t prod/web\n%ecs_exec -t prod/w¦", marks=WHOLE_CELLS),
        "%%ecs_shell -t prod/web\nls prod/w¦",
        "%ls prod/w¦",
        "prod/w¦",
    ],
)
def test_the_far_end_and_python_are_left_alone(shell: Any, world: World, marked: str) -> None:
    shell.user_ns["place"] = "prod"
    before, _, after = marked.partition("¦")
    made = {each[len(before) : len(each) - len(after)] for each in completed(shell, marked)}
    assert not made & {"eb", "orker", "web", "worker", "uster"}
    assert world.account.calls == []


def test_expressions_are_not_evaluated(shell: Any, world: World) -> None:
    shell.user_ns["boom"] = lambda: 1 / 0
    shell.user_ns["text"] = "x"
    assert words(shell, "%ecs_exec -t {boom()} --stdin te¦") == {"text"}
    assert "--timeout" in words(shell, "%ecs_exec -t {boom()} --ti¦")
    completed(shell, "%ecs_exec --region {boom()} --cluster ¦")
    assert world.account.calls == [], "which account that is nobody knows"


def test_python_is_completed_in_braces(shell: Any) -> None:
    shell.user_ns["place_to_be"] = "prod"
    assert completed(shell, "%ecs_exec -t {place_t¦") == ["%ecs_exec -t {place_to_be"]


# -- slow, broken, shut --------------------------------------------------------------------------


def test_a_slow_account_is_there_the_next_time(
    shell: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cache, "deadline", lambda cache: cache._clock())
    world.account.gate = threading.Event()
    assert "prod/" not in words(shell, "%ecs_exec -t pro¦")
    assert "prod/" not in words(shell, "%ecs_exec -t pro¦")
    world.account.gate.set()
    ended()
    assert words(shell, "%ecs_exec -t pro¦") == {"prod/"}
    assert world.account.count("cluster_names") == 1


def test_look_ups_are_kept_for_a_while_and_by_account(shell: Any, world: World) -> None:
    for _ in range(3):
        assert words(shell, "%ecs_exec -t prod/w¦") == {"prod/web", "prod/worker"}
        assert words(shell, "%ecs_target prod/web:s¦") == {"prod/web:sidecar"}
    # Two threads have looked them up.
    assert sorted(world.account.calls) == [("services", "prod"), ("tasks", "prod")]
    words(shell, "%ecs_exec --region us-east-1 -t prod/w¦")
    assert world.account.count("services") == 2
    assert [each.settings["region"] for each in world.clients] == [None, "us-east-1"]


@pytest.mark.parametrize(
    ("denied", "marked", "expected"),
    [
        ("cluster_names", "%ecs_exec -t prod/w¦", {"prod/web", "prod/worker"}),
        ("services", "%ecs_exec -t prod/¦", {"prod/batch", *IDS}),
        ("tasks", "%ecs_exec -t prod/w¦", {"prod/web", "prod/worker"}),
        ("services", "%ecs_exec -t prod/web:s¦", {"prod/web:sidecar"}),
    ],
)
def test_what_is_denied_is_all_that_is_lost(
    shell: Any, world: World, denied: str, marked: str, expected: set[str]
) -> None:
    world.account.denied = {denied}
    assert words(shell, marked) == expected


@pytest.mark.parametrize(
    "error", [InvalidRequest("no AWS region is set"), RuntimeError("x"), SystemExit(3), OSError()]
)
@pytest.mark.parametrize("marked", ["%ecs_exec -t pro¦", "%ecs_tasks prod/w¦"])
def test_a_broken_account_completes_nothing_and_raises_nothing(
    shell: Any, world: World, capsys: pytest.CaptureFixture[str], error: BaseException, marked: str
) -> None:
    world.account.broken = error
    made = words(shell, marked)
    assert not made & {"prod/", "prod/web"}
    assert words(shell, "%ecs_exec --ti¦") == {"--timeout"}
    assert capsys.readouterr() == ("", "")


def test_without_a_client_there_are_still_options(
    shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ecs_exec_magic

    def refuse(**_: Any) -> Any:
        raise InvalidRequest("there is no such profile")

    monkeypatch.setattr(ecs_exec_magic, "connect", refuse)
    completed(shell, "%ecs_exec -t ¦")
    assert words(shell, "%ecs_exec --ti¦") == {"--timeout"}


@pytest.mark.parametrize(
    "marked",
    [
        "%ecs_exec -t a/b/c:¦",
        "%ecs_exec -t :¦",
        "%ecs_exec -t arn:¦",
        "%ecs_exec -t arn:aws:ecs:¦",
        "%ecs_exec -t 'a b':¦",
        "%ecs_exec --cluster a/b --service ¦",
        "%ecs_exec -t a/b --cluster c --container ¦",
        "%ecs_tasks a:b --container ¦",
        "%ecs_exec --service a --task b --container ¦",
        "%ecs_exec --container a --container ¦",
    ],
)
def test_nonsense_completes_nothing(
    shell: Any, capsys: pytest.CaptureFixture[str], marked: str
) -> None:
    completed(shell, marked)
    assert capsys.readouterr() == ("", "")


def test_an_interrupt_ends_the_waiting(
    shell: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Cache, "get", interrupted)
    completed(shell, "%ecs_exec -t pro¦")
    assert capsys.readouterr() == ("", "")


# -- in and out ----------------------------------------------------------------------------------


def ours(shell: Any) -> int:
    """How many of our matchers and hooks a shell has."""
    matchers = [*shell.Completer.custom_matchers, *shell.Completer.magic_arg_matchers]
    count = sum("ecs_exec_magic" in str(getattr(m, "__module__", "")) for m in matchers)
    dispatch = shell.strdispatchers["complete_command"]
    return count + sum("ecs_" in key.pattern for key in dispatch.regexs)


def test_reloading_leaves_one_and_unloading_none(shell: Any) -> None:
    assert ours(shell) == 1
    extension.load(shell)
    extension.load(shell)
    assert ours(shell) == 1
    assert words(shell, "%ecs_exec --ti¦") == {"--timeout"}
    extension.unload(shell)
    assert ours(shell) == 0
    assert "%ecs_exec --timeout" not in completed(shell, "%ecs_exec --ti¦")


@pytest.fixture
def old(shell: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """As before IPython 8.6."""
    monkeypatch.delattr(ipython, "context_matcher", raising=False)
    extension.unload(shell)
    return shell


OLD_FORMS = [
    ("%ecs_exec -t prod/web:s¦ ls", "%ecs_exec -t prod/web:sidecar ls"),
    ("x = %ecs_exec --cluster=pr¦ ls", "x = %ecs_exec --cluster=prod ls"),
    ("%%ecs_shell -t prod/web:s¦", "%%ecs_shell -t prod/web:sidecar"),
    ("1\n%ecs_tasks prod/wo¦", "1\n%ecs_tasks prod/worker"),
    ("ecs_target prod/wo¦", "ecs_target prod/worker"),
]


@pytest.mark.parametrize(("marked", "expected"), OLD_FORMS)
def test_the_old_hook(
    old: Any, monkeypatch: pytest.MonkeyPatch, marked: str, expected: str
) -> None:
    matchers = old.Completer.__dict__.pop("magic_arg_matchers")
    monkeypatch.setattr(type(old.Completer), "magic_arg_matchers", matchers, raising=False)
    extension.load(old)
    assert ours(old) == 1
    assert expected in completed(old, marked)
    extension.unload(old)
    assert ours(old) == 0
    old.Completer.magic_arg_matchers = matchers


@pytest.mark.parametrize(("marked", "expected"), OLD_FORMS)
def test_the_old_matchers_of_arguments(old: Any, marked: str, expected: str) -> None:
    """They get one line, and what they give stands in place of the token."""
    extension.load(old)
    assert ours(old) == 1
    before, _, after = marked.rpartition("\n")[2].partition("¦")
    completer = old.Completer
    completer.text_until_cursor = before
    token = completer.splitter.split_line(before + after, len(before))
    (made,) = completer.magic_arg_matchers[-1](before + after)
    line = before.removesuffix(token) + made + after
    assert line == expected.rpartition("\n")[2]
    extension.unload(old)
    assert ours(old) == 0
