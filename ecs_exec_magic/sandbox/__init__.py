"""The practice cluster: every AWS API this package calls and the data channel, on one port."""

from .counters import Call, Counters
from .faults import Faults
from .running import Sandbox, start
from .runtimes import SandboxUnavailable

__all__ = ["Call", "Counters", "Faults", "Sandbox", "SandboxUnavailable", "start"]
