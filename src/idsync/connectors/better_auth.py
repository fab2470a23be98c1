"""Better Auth's own tables as a peer, without a change to Better Auth (schema of its versions 1.6 and 1.7).

Only the columns named here ever leave the tables: no token, no password, no secret, nothing that a plugin adds.
Its admin API and its hooks are not used: they miss cascades, leaves and plain SQL, and lose events when they fail.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from idsync.config import KindSettings
from idsync.connectors.tables.mapping import Encoding, IdStyle, TableMapping
from idsync.model.values import Kind

USER_FIELDS: Final = {
    "email": "email",
    "email_verified": "emailVerified",
    "name": "name",
    "picture": "image",
    "roles": "role",
    "banned": "banned",
    "ban_reason": "banReason",
    "ban_expires_at": "banExpires",
}
ADMIN_FIELDS: Final = frozenset({"roles", "banned", "ban_reason", "ban_expires_at"})
"""Columns of the admin plugin."""
SESSION_FIELDS: Final = {
    "user_id": "userId",
    "expires_at": "expiresAt",
    "created_at": "createdAt",
    "ip_address": "ipAddress",
    "user_agent": "userAgent",
}
ORGANIZATION_FIELDS: Final = {"name": "name", "slug": "slug", "logo": "logo"}
MEMBER_FIELDS: Final = {"user_id": "userId", "organization_id": "organizationId", "role": "role"}

_SESSION: Final = TableMapping(
    kind=Kind.SESSION, table="session", fields=SESSION_FIELDS, is_optional=True, may_create=False
)
_ORGANIZATION: Final = TableMapping(
    kind=Kind.ORGANIZATION, table="organization", fields=ORGANIZATION_FIELDS, is_optional=True, id_style=IdStyle.LETTERS
)
_MEMBERSHIP: Final = TableMapping(
    kind=Kind.MEMBERSHIP, table="member", fields=MEMBER_FIELDS, is_optional=True, id_style=IdStyle.LETTERS
)
_USER: Final = TableMapping(
    kind=Kind.USER,
    table="user",
    fields=USER_FIELDS,
    optional=ADMIN_FIELDS,
    encodings={"email_verified": Encoding.FLAG, "banned": Encoding.FLAG, "roles": Encoding.COMMA},
    id_style=IdStyle.LETTERS,
)


def better_auth_tables(kinds: Mapping[Kind, KindSettings]) -> list[TableMapping]:
    """Map every kind that Better Auth keeps.

    Args:
        kinds: what is configured otherwise: renamed tables and columns, additional fields, a link column.
    """
    mappings = [_configured(one, kinds.get(Kind(one.kind))) for one in (_USER, _SESSION, _ORGANIZATION, _MEMBERSHIP)]
    user, session, *others = mappings
    # Better Auth looks at a ban only when somebody signs in; its own ban ends the open sessions too.
    user = msgspec.structs.replace(user, ends=((session.table, session.fields["user_id"]),))
    return [user, session, *others]


def _configured(mapping: TableMapping, settings: KindSettings | None) -> TableMapping:
    if settings is None:
        return mapping
    return msgspec.structs.replace(
        mapping,
        table=settings.table or mapping.table,
        key=settings.key,
        link=settings.link,
        fields={**mapping.fields, **settings.fields},
        optional=mapping.optional - settings.fields.keys(),
        on_delete=settings.on_delete or mapping.on_delete,
        on_ban=settings.on_ban or mapping.on_ban,
    )
