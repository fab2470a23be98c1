"""What whoever runs the service looks at: health, readiness, the document, one plain page; all without a key.

Nothing here shows a person, a secret, or a name that is not in the configuration.
"""

import re
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final

import msgspec

from idsync import __version__
from idsync.api.http import Answer, Headers, Outcome, ProblemType, answer_json
from idsync.api.operations.metrics import Metrics
from idsync.api.service import Call, Operation, Run, Service
from idsync.api.views import HealthView, LoopView, ReadyView

PROBES: Final = frozenset({"/healthz", "/readyz", "/metrics"})


def operations_of_ops() -> list[Operation]:
    """Document and serve what needs no key; `build_operations` knows what the document says."""
    health = Operation(
        method="GET",
        path="/healthz",
        name="showHealth",
        summary="Whether every loop runs; 503 if one is dead.",
        run=show_health,
        answers={200: HealthView, 503: HealthView},
    )
    replace = msgspec.structs.replace
    ready = replace(
        health,
        path="/readyz",
        name="showReady",
        summary="Whether requests are welcome; 503 while starting and stopping.",
        run=show_ready,
        answers={200: ReadyView, 503: ReadyView},
    )
    metrics = replace(
        health,
        path="/metrics",
        name="showMetrics",
        summary="Everything that is counted, in the text format of Prometheus.",
        run=Metrics().show,
        answers={200: None},
        media="text/plain",
        problems=(ProblemType.UNAVAILABLE,),
    )
    document = replace(
        health, path="/openapi.json", name="showDocument", summary="This document.", answers={200: dict[str, Any]}
    )
    page = replace(
        health,
        path="/",
        name="showPage",
        summary="A plain page for people.",
        run=read_page(),
        answers={200: None},
        media="text/html",
    )
    return [health, ready, metrics, document, page]


async def show_health(service: Service, _: Call) -> Outcome:
    """Say whether every loop runs: 503 tells whoever watches to start the process again."""
    loops = [LoopView(name=one.name, is_alive=one.is_alive, detail=one.detail) for one in service.health()]
    is_healthy = all(one.is_alive for one in loops)
    view = HealthView(status="ok" if is_healthy else "failing", version=__version__, loops=loops)
    return answer_json(view, 200 if is_healthy else 503)


async def show_ready(service: Service, _: Call) -> Outcome:
    """Say whether requests are welcome: not yet while starting, no more while stopping."""
    if service.is_ready:
        return answer_json(ReadyView(status="ready"))
    return answer_json(ReadyView(status="starting or stopping"), 503)


def read_page() -> Run:
    """Read the page once; give what serves it, with a policy that lets nothing run but its own script."""
    html = files("idsync.api").joinpath("status.html").read_text(encoding="utf-8")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src {_hash_inline(html, 'style')}",
            f"script-src {_hash_inline(html, 'script')}",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    headers: Headers = ((b"content-security-policy", policy.encode()), (b"referrer-policy", b"no-referrer"))
    return always(Answer(200, html.encode(), b"text/html; charset=utf-8", headers))


def _hash_inline(html: str, tag: str) -> str:
    """Give what a content security policy calls an inline element: the hash of its text."""
    found = re.search(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    text = found[1] if found is not None else ""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def always(answer: Answer) -> Run:
    """Give what serves one answer that never changes."""

    async def run(_service: Service, _call: Call) -> Outcome:
        return answer

    return run
