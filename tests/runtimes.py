"""How the practice containers of tests are isolated."""

from __future__ import annotations

import shutil

__all__ = ["WITHOUT_ENGINE"]

WITHOUT_ENGINE = next((name for name in ("bwrap", "unshare") if shutil.which(name)), "process")
"""The best isolation that needs no engine: an engine would pull images, and be slower.

Engines have tests of their own, which start them themselves.
"""
