"""What differs, and what follows: from spec and snapshot to a comparison, findings and steps. Pure."""
