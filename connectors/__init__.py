"""How a controller reaches hosts."""
