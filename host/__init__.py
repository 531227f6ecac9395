"""The program that runs on a host: POSIX sh, sent whole."""
