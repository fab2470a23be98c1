"""Which event types an endpoint is to get: `*`, `user.*` or exact, and behind a `!` what is left out. Pure."""


def matches(filters: tuple[str, ...], event_type: str) -> bool:
    """Whether one of the filters names the type, and none leaves it out.

    `user.*` names `user.created` and `user.x.y`, but neither `user` nor `users.x`. The order does not count.
    """
    names = [one for one in filters if _names(one.removeprefix("!"), event_type)]
    return bool(names) and not any(one.startswith("!") for one in names)


def _names(pattern: str, event_type: str) -> bool:
    return pattern in {"*", event_type} or (pattern.endswith(".*") and event_type.startswith(pattern[:-1]))
