"""What every test needs: the Hypothesis profiles."""

import os

from hypothesis import HealthCheck, settings


def pytest_configure() -> None:
    """Load the profile that HYPOTHESIS_PROFILE names.

    "default" is quick; "all" gives the properties of merge more than 10,000 examples together, "full" as many to each.
    None watches the clock: a busy machine is not a failed property.
    """
    settings.register_profile("default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("all", settings.get_profile("default"), max_examples=2_500)
    settings.register_profile("full", settings.get_profile("default"), max_examples=10_000)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
