"""What takes a real boot: tests upon the lab's virtual machines."""
