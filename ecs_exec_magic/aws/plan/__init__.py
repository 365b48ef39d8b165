"""From an empty account to exec, and back: what has to be made, making it, and taking it away.

Knows the resources of AWS's walkthrough of ECS Exec, in their order. Never knows who looks on.
"""

from .options import FARGATE_SIZES, AccountChoices, PlanOptions, Subnet, Vpc
from .steps import Step, StepEvent

__all__ = ["FARGATE_SIZES", "AccountChoices", "PlanOptions", "Step", "StepEvent", "Subnet", "Vpc"]
