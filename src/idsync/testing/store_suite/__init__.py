"""What every Store must keep, as a suite that any of them can be put through.

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    async def test_my_store_keeps_the_contract(check: Check, store: MyStore) -> None:
        await check(store)

Each check begins with an empty store. Those of `DURABLE_CHECKS` also end it and open it again, which a `StoreRig` does;
a store that ends with its process is not put through them, and says so in its own documentation.
"""

from typing import Final

from idsync.testing.store_suite import (
    cluster,
    directory,
    durable,
    inbox,
    lanes,
    races,
    registry,
    retention,
    settings,
    waits,
)
from idsync.testing.store_suite.durable import DurableCheck, StoreRig
from idsync.testing.store_suite.samples import Check

CHECKS: Final[tuple[Check, ...]] = (
    *inbox.CHECKS,
    *waits.CHECKS,
    *directory.CHECKS,
    *lanes.CHECKS,
    *retention.CHECKS,
    *cluster.CHECKS,
    *races.CHECKS,
    *registry.CHECKS,
    *settings.CHECKS,
)
DURABLE_CHECKS: Final[tuple[DurableCheck, ...]] = durable.CHECKS

__all__ = ["CHECKS", "DURABLE_CHECKS", "Check", "DurableCheck", "StoreRig"]
