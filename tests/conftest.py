"""What every test needs: the Hypothesis profiles."""

import os

from hypothesis import HealthCheck, settings


def pytest_configure() -> None:
    """Load the profile that HYPOTHESIS_PROFILE names: "default" is quick, "all" is for `make test-all`.

    Neither watches the clock: a busy machine is not a failed property.
    """
    settings.register_profile(
        "default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.register_profile("all", settings.get_profile("default"), max_examples=10_000)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
