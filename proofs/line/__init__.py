"""The claims of the line on the embedded store."""
