"""Who ran what, where, when, from where: CloudTrail's events joined with session logs and runs.

Knows the join and how it looks. Never knows IPython.
"""

from .entries import AuditEntry
from .report import Audit, audit
from .transcript import Transcript

__all__ = ["Audit", "AuditEntry", "Transcript", "audit"]
