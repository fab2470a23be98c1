"""Which event types an endpoint subscribed to: `*`, `user.*`, or exact. Pure."""


def matches(filters: tuple[str, ...], event_type: str) -> bool:
    """Whether one of the filters names the type.

    `user.*` names `user.created` and `user.x.y`, but neither `user` nor `users.x`.
    """
    return any(one in {"*", event_type} or (one.endswith(".*") and event_type.startswith(one[:-1])) for one in filters)
