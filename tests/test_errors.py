"""The tree of errors: what each is, what a notebook shows of it, and that it travels."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic import errors
from ecs_exec_magic.capture import Capture
from ecs_exec_magic.errors import AmbiguousTarget, CommandFailed, EcsExecError, Interrupted
from ecs_exec_magic.results import CommandResult

KINDS = [
    each
    for each in vars(errors).values()
    if inspect.isclass(each) and issubclass(each, EcsExecError)
]
RESULT = CommandResult(3, "false", captured_stderr=Capture(b"first\nlast words\n"))


def test_all_are_public_and_named_in_the_tree() -> None:
    names = {kind.__name__ for kind in KINDS} | {"Interrupted"}
    assert names == set(errors.__all__)
    for name in names:
        assert name in (errors.__doc__ or "")
    assert sorted(errors.__all__) == errors.__all__


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        ("InvalidRequest", ValueError),
        ("TargetNotFound", LookupError),
        ("AmbiguousTarget", LookupError),
        ("AccessDenied", PermissionError),
        ("ConnectError", ConnectionError),
        ("CommandTimeout", TimeoutError),
        ("CommandTimeout", CommandFailed),
        ("Throttled", errors.ServiceError),
    ],
)
def test_which_builtin_catches_it(kind: str, builtin: type[BaseException]) -> None:
    with pytest.raises(builtin):
        raise getattr(errors, kind)("x")


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_travels(kind: type[EcsExecError]) -> None:
    error = kind("what", cause="why", cure="do", result=RESULT)
    error.code, error.request_id = "Code", "req-1"
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is kind
        assert (str(again), again.args) == ("what", ("what",))
        assert (again.cause, again.cure) == ("why", "do")
        assert (again.code, again.request_id) == ("Code", "req-1")
        assert again.result == RESULT


def test_parts_of_their_own_travel() -> None:
    error = AmbiguousTarget("which", choices=("a", "b"))
    assert pickle.loads(pickle.dumps(error)).choices == ("a", "b")
    again = pickle.loads(pickle.dumps(errors.Throttled("x", code="C", request_id="r")))
    assert (again.code, again.request_id) == ("C", "r")


def test_interrupted_is_none_of_ours_but_travels() -> None:
    error = Interrupted("stopped", RESULT)
    assert not isinstance(error, Exception)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.result) == ("stopped", RESULT)
    assert again._render_traceback_() == ["Interrupted: stopped"]


@pytest.mark.parametrize("kind", KINDS)
def test_made_without_anything(kind: type[EcsExecError]) -> None:
    error = kind()
    assert str(error) == ""
    assert error._render_traceback_()
    assert error.code == error.request_id == ""


_TEXT = st.text(max_size=200) | st.just("a\nb\nc\nd\ne\nf\ng\nh")


@given(_TEXT, _TEXT, _TEXT, st.sampled_from(KINDS), st.booleans())
def test_a_notebook_shows_five_lines_at_most(
    message: str, cause: str, cure: str, kind: type[EcsExecError], with_result: bool
) -> None:
    error = kind(message, cause=cause, cure=cure, result=RESULT if with_result else None)
    if isinstance(error, AmbiguousTarget):
        error.choices = tuple("abcdefghijkl")
    lines = error._render_traceback_()
    assert 1 <= len(lines) <= 5
    assert lines[0].startswith(kind.__name__)
    assert not any("\n" in line for line in lines)


def test_what_a_notebook_shows() -> None:
    error = CommandFailed("it failed", cause="why", cure="do", result=RESULT)
    assert error._render_traceback_() == [
        "CommandFailed: it failed",
        "stderr: first",
        "        last words",
        "cause: why",
        "cure:  do",
    ]
    error.output_shown = True
    assert error._render_traceback_() == ["CommandFailed: it failed", "cause: why", "cure:  do"]
    many = AmbiguousTarget("which", choices=tuple(f"t{number}" for number in range(11)))
    assert many._render_traceback_()[1] == "choices: t0, t1, t2, t3, t4, t5, t6, t7 and 3 more"


def test_the_tail_fills_five_lines_and_falls_back_to_stdout() -> None:
    lines = b"".join(b"line %d\n" % number for number in range(20))
    error = CommandFailed("it failed", result=CommandResult(1, "x", captured_stderr=Capture(lines)))
    assert [line.split()[-1] for line in error._render_traceback_()[1:]] == ["16", "17", "18", "19"]
    quiet = CommandFailed(
        "it failed", result=CommandResult(1, "x", captured_stdout=Capture(b"a\n"))
    )
    assert quiet._render_traceback_() == ["CommandFailed: it failed", "stdout: a"]


def test_last_line_survives_when_lines_are_cut() -> None:
    error = EcsExecError("1\n2\n3\n4\n5\n6", cure="do this")
    assert error._render_traceback_()[-1] == "cure:  do this"


def test_a_long_last_line_of_stderr_is_cut() -> None:
    result: Any = CommandResult(1, "x", captured_stderr=Capture(b"y" * 100_000))
    (shown,) = (x for x in CommandFailed("x", result=result)._lines() if x.startswith("stderr"))
    assert len(shown) < 400


@given(_TEXT, _TEXT, _TEXT, st.sampled_from(KINDS), st.none() | st.binary(max_size=100))
def test_every_error_travels_whatever_it_says(
    message: str, cause: str, cure: str, kind: type[EcsExecError], output: bytes | None
) -> None:
    result = None if output is None else CommandResult(1, "x", captured_stdout=Capture(output))
    error = kind(message, cause=cause, cure=cure, result=result)
    error.__cause__ = OSError("what it came from stays behind")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert vars(again) == vars(error)
    assert again.args == error.args
    assert again._render_traceback_() == error._render_traceback_()
