"""``{{name}}`` in commands: filled in as one word, and nothing else touched."""

from __future__ import annotations

import ast
import shlex
import subprocess
import tempfile
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
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
        ("cat > {{n}} # it's {n}", {"n": "a b"}, "cat > 'a b' # it's {n}"),
        ('x="$y"{{n}}.txt', {"n": "a b"}, "x=\"$y\"'a b'.txt"),
        ("for f in {{n}}; do :; done", {"n": ["a", "b c"]}, "for f in a 'b c'; do :; done"),
        ("x=$(cat {{n}})", {"n": "a b"}, "x=$(cat 'a b')"),
        ("(cd {{n}} && ls)", {"n": "a b"}, "(cd 'a b' && ls)"),
        ("cat <<< {{n}}", {"n": "a b"}, "cat <<< 'a b'"),
        ("cat <<E > {{n}}\nbody\nE\necho {{n}}", {"n": "f"}, "cat <<E > f\nbody\nE\necho f"),
        ("case $x in a) echo {{n}};; esac", {"n": "f"}, "case $x in a) echo f;; esac"),
        ("echo ${x}{{n}} $((1+2)) {{n}}", {"n": "f"}, "echo ${x}f $((1+2)) f"),
        ("awk '{print $1}' {{n}}", {"n": "f"}, "awk '{print $1}' f"),
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
        ("echo 'user {{n}} x'", {"n": 1}, "stands in quotes"),
        ("sh -c 'echo {{n}}; true'", {"n": 1}, "stands in quotes"),
        ('"{{n}}"', {"n": 1}, "stands in double quotes"),
        ('echo "user={{n}}"', {"n": 1}, "stands in double quotes"),
        ("cat <<E\n{{n}}\nE\n", {"n": 1}, "stands in a here-document"),
        ("cat <<-'E'\n\tx\n\t{{n}}\n\tE\n", {"n": 1}, "stands in a here-document"),
        ("ls # {{n}}", {"n": 1}, "stands in a comment"),
        ("echo $(( {{n}} ))", {"n": 1}, "stands in an arithmetic expression"),
        ("(( {{n}} ))", {"n": 1}, "too intricate"),
        ("echo `ls {{n}}`", {"n": 1}, "stands in backticks"),
        ("echo \\{{n}}", {"n": 1}, "stands behind a backslash"),
        ("echo ${{n}}", {"n": 1}, "stands behind a"),
        ("echo ${x:-{{n}}}", {"n": 1}, "stands in a parameter expansion"),
        ("echo $'a\\'b' {{n}}", {"n": 1}, "too intricate"),
        ('echo "$(case x in a) echo;; esac)" {{n}}', {"n": 1}, "too intricate"),
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


@pytest.mark.parametrize(
    "text",
    ["print('a {{v}} b')", 'f"{{v}}"', "x = 1  # {{v}}", "abc{{v}}", '"""\n{{v}}\n"""', "'{{v}}'"],
)
def test_python_takes_it_as_an_expression_only(text: str) -> None:
    with pytest.raises(ValueError, match="stands in a string, a comment or a name"):
        expanded(text, {"v": "'+evil()+'"}, "python3")


def test_python_in_whole() -> None:
    text = "for x in {{many}}:\n    print('it is', x, {{ one }})  # {{.x}}\n"
    assert expanded(text, {"many": ["a'b", 1], "one": None}, "python3") == (
        "for x in [\"a'b\", 1]:\n    print('it is', x, None)  # {{.x}}\n"
    )


def test_other_interpreters_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="how values are quoted for perl is not known"):
        expanded("print {{v}}", {"v": 1}, "perl")
    assert expanded("print 1", {}, "perl") == "print 1"
    for value in (object(), float("nan"), [Path("/x")]):
        with pytest.raises(ValueError, match="cannot be written as a Python literal"):
            expanded("{{v}}", {"v": value}, "python3")


# Pieces of scripts, put together at random: whatever surrounds a field, its value must not run.
PIECES = (
    "{{n}}", "{{n}}", "'", '"', "`", "$", "$(", ")", "(", "((", "$((", "))", "${x", "${x:-", "}",
    "\\", "#", " #", "\n", "\n", " ", " ", ";", "<<E", "<<'E'", "\nE\n", "<<<", "echo ", "case ",
    " in a) ", ";; esac", "x=", "|cat", "&&", ">/dev/null", "$'", "a", "b", ":", "!", "[ ", " ]",
)  # fmt: skip
CANARIES = (
    "$(touch canary)", "`touch canary`", "'; touch canary; '", '"; touch canary; "',
    "; touch canary #",
    "\ntouch canary\n", "\nE\ntouch canary\n", "a[$(touch canary)0]", "\\", "'", ")touch canary(",
    "})); touch canary; ((", "*/touch canary",
)  # fmt: skip


@pytest.mark.parametrize("program", ["sh", "bash"])
@settings(max_examples=600, deadline=None)
@given(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=14)
    .map("".join)
    .filter(lambda text: "{{n}}" in text),
    st.sampled_from(CANARIES),
)
@example("(true)#it's\necho '{{n}}'", "'; touch canary; '")
@example("$(true)#it's {{n}}'\n{{n}}", "; touch canary")
def test_no_value_ever_runs(program: str, text: str, canary: str) -> None:
    try:
        command = expanded(text, {"n": canary}, program)
    except ValueError:
        return
    # What runs with a harmless value may run; a command that a shell refuses runs nothing.
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(
            [program, "-c", command],
            cwd=place,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            env={"PATH": "/usr/bin:/bin"},
            check=False,
        )
        assert not (Path(place) / "canary").exists(), command
