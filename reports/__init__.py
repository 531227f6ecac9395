"""What is shown: the summary of a run."""
