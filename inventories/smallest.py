"""The smallest inventory: a host, and on it a guest of the commit that the host was booted from."""

hosts = [
    ("atomic1.example.org", {"guests": [{"name": "web"}]}),
]
