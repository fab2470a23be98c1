"""The composition root: settings in, a wired App out. The only package that knows every adapter (DESIGN §3)."""

from idsync.app.app import App, LoopHealth, Part
from idsync.app.clock import SystemClock
from idsync.app.duties import Duties, Duty
from idsync.app.opening import open_app
from idsync.app.peers import capture_peers

__all__ = ["App", "Duties", "Duty", "LoopHealth", "Part", "SystemClock", "capture_peers", "open_app"]
