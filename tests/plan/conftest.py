"""Fixtures of the tests of plans."""

from tests.golden import golden

__all__ = ["golden"]
