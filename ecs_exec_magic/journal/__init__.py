"""The record of all runs: what ran where, when, for whom, and what came of it.

Knows files and finished results. Never knows IPython or AWS.
"""

from .records import Record, Stored
from .writing import Entry, Journal

__all__ = ["Entry", "Journal", "Record", "Stored"]
