"""Act: idempotent operations, each of which sees, plans, shows, and then does nothing or yields."""
