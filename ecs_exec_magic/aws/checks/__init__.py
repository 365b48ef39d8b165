"""Checks: everything that commands in containers need, looked at one by one.

Knows the official checker's questions and what it leaves out; each module knows one subject.
"""

# The order of the imports is the order in which findings are told.
# isort: off
from . import local as local
from . import caller as caller
from . import cluster as cluster
from . import task as task
from . import agent as agent
from . import role as role
from . import network as network
from . import endpoint as endpoint
from . import key as key
from . import logging as logging
from . import image as image

# isort: on
from .registry import CHECKS, Check, run_checks
from .scene import Scene, scene_of

__all__ = ["CHECKS", "Check", "Scene", "run_checks", "scene_of"]
