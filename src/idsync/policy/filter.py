"""Which event types an endpoint is to get: `*`, `user.*` or exact, and behind a `!` what is left out. Pure."""


def matches(filters: tuple[str, ...], event_type: str) -> bool:
    """Whether one of the filters names the type, and none leaves it out.

    `user.*` names `user.created` and `user.x.y`, but neither `user` nor `users.x`. The order does not count. Filters
    that only leave out name everything else; no filter at all names nothing.
    """
    found = [one for one in filters if _names(one.removeprefix("!"), event_type)]
    if any(one.startswith("!") for one in found):
        return False
    return bool(found) or (bool(filters) and all(one.startswith("!") for one in filters))


def _names(pattern: str, event_type: str) -> bool:
    return pattern in {"*", event_type} or (pattern.endswith(".*") and event_type.startswith(pattern[:-1]))
