"""HTTP out by ourselves: an HTTP/1.1 client for short POSTs, on callbacks alone."""

from idsync.senders.fast.sender import FastSender

__all__ = ["FastSender"]
