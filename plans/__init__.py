"""What differs, and what follows: pure functions from what is wanted and what was seen to a `Plan`."""

from pyinfra_nspawn.plans.plan import FileDiff, Plan, Step, refusal

__all__ = ["FileDiff", "Plan", "Step", "refusal"]
