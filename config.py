"""pyinfra reads this before every run: what must be installed, and the guards of underlay."""

from pyinfra import config

config.REQUIRE_PYINFRA_VERSION = ">=3.10,<4"
config.REQUIRE_PACKAGES = ["underlay"]

from underlay.run_guard import guard  # noqa: E402 - only after the requirement above was checked

guard()
