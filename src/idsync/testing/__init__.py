"""What tests of idsync, and of anything built against its ports, are made of. Part of the product."""
