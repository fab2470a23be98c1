"""The closed lists of the configuration: what a connector, a dialect and a canonical field may be called."""

from typing import Final, Literal

from idsync.model.mapping import BAN_FIELDS

NAME_PATTERN: Final = r"^[a-z][a-z0-9_-]{0,62}\Z"
"""Peers, endpoints and groups."""

NAME_OWN: Final = "idsync"
"""Whom operational events come from: no peer may have this name, or it could speak in ours."""

FILTER_PATTERN: Final = r"^!?(\*|[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*(\.\*)?)\Z"
"""`*`, `user.*` or one exact type; behind a `!` what is left out."""

CONNECTORS_KNOWN: Final = ("authon", "better-auth", "nats", "payload", "sql", "webhook")
"""Every connector the project names. Which of them this version has built, `app` decides."""

Dialect = Literal[
    "standard", "svix", "plain-hex", "better-auth", "authon", "timestamped", "qstash",
    "clerk", "workos", "auth0", "keycloak", "fusionauth", "logto", "supabase", "stytch", "zitadel", "ory",
    "neon", "github",
]  # fmt: skip
"""How a webhook is signed and wrapped (DESIGN §9)."""

USER_FIELDS: Final = (
    "email", "email_verified", "name", "picture", "preferred_username", "roles", "active", *BAN_FIELDS,
)  # fmt: skip
"""The canonical user fields a mapping may name. `id` is not among them: `key` and `link` map ids."""

COUPLED_FIELDS: Final = {"mail": ("email", "email_verified"), "ban": BAN_FIELDS}
"""Fields that always come from one writer (MISSION R14), by the group they form: a flag that vouches for an
address must not be joined to another peer's address."""

HEADERS_RESERVED: Final = frozenset({
    "connection", "content-length", "content-type", "host", "te", "trailer", "transfer-encoding", "upgrade",
    "webhook-id", "webhook-signature", "webhook-timestamp",
})  # fmt: skip
"""Headers that idsync sets itself; an endpoint's own may not replace them."""
