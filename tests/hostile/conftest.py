"""The simulated cluster of the fake tier."""

from tests.fake.conftest import make_world

__all__ = ["make_world"]
