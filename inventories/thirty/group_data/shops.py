"""Data of the shops: two guests, of which one needs more memory than all others."""

guests = [
    {"name": "till", "after": ["db"]},
    {"name": "db", "limits": {"memory_max": "4G"}},
]
