"""What is: one fact per concern, one round trip each; parsing is pure functions to frozen records."""
