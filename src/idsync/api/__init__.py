"""The HTTP edge over a running line: publish, webhooks in, what operators read, health and metrics (DESIGN §9)."""
