"""Authorisation of the practice cluster: who calls, what the policies say, what a call needs.

Knows IAM. Never knows HTTP, sessions or containers: the front asks :class:`Authorizer` before a
call runs, and the agent asks it what the task's role may do.
"""

from __future__ import annotations

from .authorizer import Authorizer
from .documents import check_call, check_document
from .identity import Identities, Identity
from .permissions import Facts
from .principals import Principals
from .simulate import SimulateService
from .starter import seed_roles

__all__ = [
    "Authorizer",
    "Facts",
    "Identities",
    "Identity",
    "Principals",
    "SimulateService",
    "check_call",
    "check_document",
    "seed_roles",
]
