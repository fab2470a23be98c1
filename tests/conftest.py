"""What every test needs: the Hypothesis profiles."""

import os

from hypothesis import HealthCheck, settings


def pytest_configure() -> None:
    """Load the profile that HYPOTHESIS_PROFILE names.

    "default" is quick and the same in every run; "all" gives the properties of merge more than 10,000 examples
    together, "full" as many to each.
    None watches the clock: a busy machine is not a failed property.
    """
    quick = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("default", quick, derandomize=True)
    settings.register_profile("all", quick, max_examples=2_500)
    settings.register_profile("full", quick, max_examples=10_000)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
