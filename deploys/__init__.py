"""In which order: deploys that read like a table of contents."""
