"""What we promise of webhooks that go out."""
