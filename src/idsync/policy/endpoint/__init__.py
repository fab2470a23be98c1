"""When an endpoint may be sent to: its breaker and its rate limit. Pure, as all of `policy`."""
