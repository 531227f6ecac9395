"""What an administrator runs beside pyinfra: the console script `pyinfra-nspawn`."""
