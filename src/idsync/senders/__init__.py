"""HTTP out: the implementations of `ports.Sender`."""
