"""The sources of an audit: CloudTrail, the clusters' logging, and session logs in two places.

Each module asks one source. None knows the others, IPython, or what ran in a notebook.
"""

from .calls import HIDDEN, Call, Identity
from .places import Place
from .sources import Part, SessionLog, Source

__all__ = ["HIDDEN", "Call", "Identity", "Part", "Place", "SessionLog", "Source"]
