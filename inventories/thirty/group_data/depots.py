"""Data of the depots: one guest, which ends in the evening and is not started again."""

guests = [{"name": "stock", "restart": "no"}]
