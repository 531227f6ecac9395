"""A guest that was made by hand, in a stateroot of the host's own /ostree, and is taken over.

Look first, then adopt it in one run; what is moved aside is shown as a diff:

    pyinfra inventories/adoption.py deploys/host.py deploys/guest.py --dry --diff --data adopt=web
    pyinfra inventories/adoption.py deploys/host.py deploys/guest.py --data adopt=web
"""

hosts = [
    (
        "atomic1.example.org",
        {"guests": [{"name": "web", "sysroot": "shared", "isolation": "overlay", "on_change": "report"}]},
    ),
]
