"""How far a model is from its minimum, by a duality gap."""

from .gap import Certificate, certificate

__all__ = ["Certificate", "certificate"]
