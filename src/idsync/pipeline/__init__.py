"""The line: ingest, deliver, apply, reread. One module per verb; what they share stands beside them."""
