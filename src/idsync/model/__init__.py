"""Values only: what an event, an entity, a mapping, a destination and a delivery are. No behaviour but reading."""
