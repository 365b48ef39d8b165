"""The practice cluster: every AWS API this package calls and the data channel, on one port."""

from .faults import Call, Counters, Faults
from .running import Sandbox, start
from .runtimes import SandboxUnavailable

__all__ = ["Call", "Counters", "Faults", "Sandbox", "SandboxUnavailable", "start"]
