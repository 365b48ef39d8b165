"""``{{name}}`` in commands: filled in as one word, and nothing else touched."""

from __future__ import annotations

import ast
import json
import shlex
import subprocess
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.notebook.expand import expanded

words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


@given(words, words)
def test_a_value_is_one_word_of_the_shell(value: str, other: str) -> None:
    text = expanded("printf %s {{ a }}x{{b}}", {"a": value, "b": other})
    assert shlex.split(text)[2:] == [value + "x" + other]


@given(words.filter(lambda text: "{{" not in text))
def test_without_braces_nothing_changes(text: str) -> None:
    assert expanded(text, {"a": 1}) == text


def test_a_shell_reads_it_so(tmp_path: Path) -> None:
    nasty = 'it\'s $HOME `id` "x" \\ \n; rm -rf / # é'
    command = expanded("printf '%s|' {{nasty}} {{many}}", {"nasty": nasty, "many": ["a b", "*"]})
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=True, cwd=tmp_path)
    assert done.stdout.decode() == f"{nasty}|a b|*|"


@pytest.mark.parametrize(
    ("text", "names", "meant"),
    [
        ("{{n}}", {"n": 5}, "5"),
        ("{{n}}", {"n": True}, "True"),
        ("{{n}}", {"n": b"ab c"}, "'ab c'"),
        ("{{n}}", {"n": PurePosixPath("/a b")}, "'/a b'"),
        ("{{n.x}}", {"n": SimpleNamespace(x="y")}, "y"),
        ("{{n[k]}} {{m[1]}}", {"n": {"k": "v"}, "m": [0, "one"]}, "v one"),
        ("{{ n }}", {"n": ""}, "''"),
        (
            "{{.State}} ${x} {y} $z {{1}} {{a b}} {{}}",
            {},
            "{{.State}} ${x} {y} $z {{1}} {{a b}} {{}}",
        ),
        ("'{{n}} and'", {"n": "x"}, "'x and'"),
    ],
)
def test_values(text: str, names: dict[str, Any], meant: str) -> None:
    assert expanded(text, names) == meant


@pytest.mark.parametrize(
    ("text", "names", "said"),
    [
        ("{{nope}}", {}, "there is no variable 'nope'"),
        ("{{n.x}}", {"n": 1}, "AttributeError"),
        ("{{n[k]}}", {"n": {}}, "KeyError"),
        ("'{{n}}'", {"n": 1}, "stands in quotes"),
        ('"{{n}}"', {"n": 1}, "stands in quotes"),
        ("{{n}}", {"n": None}, "NoneType is no word"),
        ("{{n}}", {"n": {}}, "dict is no word"),
        ("{{n}}", {"n": print}, "is no word"),
        ("{{n}}", {"n": []}, "the list is empty"),
        ("{{n}}", {"n": "a\0b"}, "NUL"),
        ("{{n}}", {"n": b"\xff"}, "not UTF-8"),
    ],
)
def test_what_cannot_be_filled_in_is_refused(text: str, names: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        expanded(text, names)
    assert "\n" not in str(caught.value)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(values)
def test_python_gets_a_literal(value: Any) -> None:
    assert ast.literal_eval(expanded("{{v}}", {"v": value}, "/usr/bin/python3.11 -u")) == value


@given(st.lists(st.text() | st.integers() | st.none()))
def test_node_gets_json(value: Any) -> None:
    assert json.loads(expanded("{{v}}", {"v": value}, "node")) == value


def test_other_interpreters_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="how values are quoted for perl is not known"):
        expanded("print {{v}}", {"v": 1}, "perl")
    assert expanded("print 1", {}, "perl") == "print 1"
    with pytest.raises(ValueError, match="cannot be written in Python"):
        expanded("{{v}}", {"v": object()}, "python3")
