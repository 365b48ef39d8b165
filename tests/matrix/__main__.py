"""Runs the kernel-level tests on version sets: ``make test-matrix``, or for one ``SETS=colab``.

Knows environments, pip and pytest's report. Never knows what the tests do.

A set is a file NAME.txt beside this one: exact pins, and where they come from. Its environment is
made once, and anew when the pins, the requirements or the interpreter change. A set without pins is
whatever the index has today: it is brought up to date in every run. All of this runs outside of
these environments, and so on the standard library alone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Outcome", "VersionSet", "main", "named", "table"]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NEEDED = HERE / "requirements.txt"
MADE = ROOT / ".venv-matrix"

_SHOWN = ("ipython", "ipykernel", "ipywidgets")
_VERSIONS = (
    "import json, sys\n"
    "from importlib.metadata import version\n"
    "print(json.dumps([sys.version.split()[0], *map(version, sys.argv[1:])]))"
)


@dataclass(frozen=True)
class Outcome:
    """What became of one set.

    Attributes:
        verdict: what pytest counted, or what kept it from counting.
        seconds: for the environment, and for the tests.
    """

    name: str
    passed: bool
    verdict: str
    versions: tuple[str, ...] = ("",) * (len(_SHOWN) + 1)
    seconds: tuple[float, float] = (0, 0)

    def row(self) -> tuple[str, ...]:
        """Its line of the table."""
        times = (f"{seconds:.0f} s" if seconds else "" for seconds in self.seconds)
        word = "passed" if self.passed else "FAILED"
        return (self.name, *self.versions, *times, f"{word}: {self.verdict}")


@dataclass(frozen=True)
class VersionSet:
    """The versions of one platform, and an environment that has them.

    Attributes:
        pins: the file that names the versions.
        venv: where the environment is, or will be.
    """

    pins: Path
    venv: Path

    def run(self) -> Outcome:
        """Make the environment and run the tests in it."""
        name = self.pins.stem
        print(f"\n== {name} ==", flush=True)
        began = time.monotonic()
        if not self.install():
            return Outcome(name, False, "it cannot be installed; pip's reason stands above")
        installed = time.monotonic()
        passed, verdict = self.test()
        seconds = installed - began, time.monotonic() - installed
        return Outcome(name, passed, verdict, self.versions(), seconds)

    def install(self) -> bool:
        """Make the environment, unless it is there as it should be; returns whether it is."""
        stamp, wanted = self.venv / "made-of", self._wanted()
        floats = not _pins(self.pins)
        if stamp.is_file() and stamp.read_text("utf-8") == wanted:
            if not floats:
                return True
        else:
            shutil.rmtree(self.venv, ignore_errors=True)
            if not _run([sys.executable, "-m", "venv", str(self.venv)]):
                return False
        stamp.unlink(missing_ok=True)
        # The pins are requirements, not constraints: a pin that nothing asks for is installed too,
        # and a misspelled one is an error. Most modules are never imported: none are compiled here.
        pip = [self._python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        what = ["--no-compile", "-e", ".[sandbox]", "-r", str(NEEDED), "-r", str(self.pins)]
        if not _run([*pip, *(["--upgrade", "--upgrade-strategy", "eager"] * floats), *what]):
            return False
        stamp.write_text(wanted, "utf-8")
        return True

    def test(self) -> tuple[bool, str]:
        """Run the tests; returns whether all is well, and what pytest counted."""
        report = self.venv / "report.xml"
        report.unlink(missing_ok=True)
        how = [
            "-n",
            "auto",
            "--dist",
            "worksteal",
            "-p",
            "no:cacheprovider",
            f"--junitxml={report}",
        ]
        fine = _run([self._python, "-m", "pytest", *how, "-m", "kernel", "tests/notebook"])
        if not report.is_file():
            return False, "pytest ended without a report"
        counts = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
        for suite in ET.parse(report).getroot().iter("testsuite"):
            counts = {kind: number + int(suite.get(kind, 0)) for kind, number in counts.items()}
        passed = counts.pop("tests") - sum(counts.values())
        named = zip(("failed", "broken", "skipped"), counts.values(), strict=True)
        verdict = [f"{passed} passed", *(f"{count} {word}" for word, count in named if count)]
        return fine and passed > 0, ", ".join(verdict)

    def versions(self) -> tuple[str, ...]:
        """Of Python, and of what the table shows."""
        command = [self._python, "-c", _VERSIONS, *_SHOWN]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        return tuple(json.loads(found.stdout))

    @property
    def _python(self) -> str:
        return str(self.venv / "bin" / "python")

    def _wanted(self) -> str:
        """A digest of all that the environment is made of."""
        files = (self.pins, NEEDED, ROOT / "pyproject.toml")
        parts = (sys.version, sys.base_prefix, *(file.read_text("utf-8") for file in files))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def named(names: Sequence[str], directory: Path = HERE, made: Path = MADE) -> list[VersionSet]:
    """The sets of these names; all, when there are no names.

    Raises:
        SystemExit: there is no set of such a name; the message lists those there are.
    """
    files = {
        path.stem: path for path in sorted(directory.glob("*.txt")) if path.name != NEEDED.name
    }
    if unknown := [name for name in names if name not in files]:
        raise SystemExit(f"there is no set {', '.join(unknown)}; there are {', '.join(files)}")
    return [VersionSet(files[name], made / name) for name in names or files]


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes in columns."""
    head = ("set", "python", *_SHOWN, "install", "tests", "outcome")
    rows = [head, *(outcome.row() for outcome in outcomes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def main(names: Sequence[str]) -> int:
    """Run sets one after the other; returns the exit status."""
    outcomes = [each.run() for each in named(names)]
    print(f"\n{table(outcomes)}")
    return 0 if all(outcome.passed for outcome in outcomes) else 1


def _pins(path: Path) -> list[str]:
    lines = path.read_text("utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def _run(command: Sequence[str]) -> bool:
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
