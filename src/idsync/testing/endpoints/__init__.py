"""Endpoints that do anything at all, made from seeds; and whether two Senders understand them alike."""

from idsync.testing.endpoints.agreement import Agreement, Reading, Verdict, compare, is_alike
from idsync.testing.endpoints.answers import Play, Scene, make_play

__all__ = ["Agreement", "Play", "Reading", "Scene", "Verdict", "compare", "is_alike", "make_play"]
