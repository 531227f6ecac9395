"""Every file that defines a guest, rendered from its spec, and the digest of what it means."""

from pyinfra_nspawn.plans.render.definition import Definition, define

__all__ = ["Definition", "define"]
