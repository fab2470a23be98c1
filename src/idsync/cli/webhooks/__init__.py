"""The commands about webhooks out: endpoints, events and why they came or did not, replays, dead deliveries."""
