"""Whether an address is this machine's own."""

import functools
import ipaddress
import socket


@functools.lru_cache(1024)  # asked for every request, of a handful of addresses
def is_this_machine(peer: str) -> bool:
    """Whether `peer`, an IP address as sockets give it ("" for a unix socket's), is this machine."""
    if not peer:
        return True
    address = ipaddress.ip_address(peer.partition("%")[0])
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def open_address(addresses) -> str | None:
    """The first of `addresses`, as gunicorn and sockets have them, that other machines reach, as host:port; None when
    there is none."""
    for address in addresses:
        if not isinstance(address, tuple):
            continue  # a unix socket's path, or a descriptor, which can be judged once it is a socket
        host, port = address[:2]
        try:
            found = {info[4][0] for info in socket.getaddrinfo(host or "::", port, type=socket.SOCK_STREAM)}
        except socket.gaierror:
            continue  # it cannot be bound either, and gunicorn says so
        if not all(map(is_this_machine, found)):
            return f"{host}:{port}"
    return None
