"""Exec for a service that is there already: what is missing, changing it, and putting it back.

Knows one service, its task role and its cluster. Never knows who looks on.
"""

from .options import EnableOptions

__all__ = ["EnableOptions"]
