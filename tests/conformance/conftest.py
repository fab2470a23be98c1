"""Lets a failed assertion of a suite show its values, as one of a test does."""

import pytest

pytest.register_assert_rewrite("idsync.testing.store_suite", "idsync.testing.target_suite")
