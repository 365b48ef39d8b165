"""Masking secrets in text, as a whole or while it comes.

Knows what secrets look like. Never knows what the texts are for.
"""

from .named import AWS_NAMES
from .shapes import URL_PASSWORD
from .stream import Masked, Masker, mask
from .values import MARK

__all__ = ["AWS_NAMES", "MARK", "URL_PASSWORD", "Masked", "Masker", "mask"]
