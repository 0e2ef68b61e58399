"""Clients that negotiate little: no structured replies, as the kernel's; or no options but the name of the export."""

import sys

import nbd

uri = sys.argv[1]
content = bytes(range(1, 251)) * 8


def try_out(handle, place):
    handle.connect_uri(uri)
    assert not handle.get_structured_replies_negotiated()
    handle.pwrite(content, place)
    handle.flush()
    assert handle.pread(len(content), place) == content
    handle.zero(1000, place)
    assert handle.pread(1001, place) == bytes(1000) + content[1000:1001]
    handle.trim(512, place)
    handle.cache(512, 0)
    try:
        handle.set_strict_mode(0)
        handle.pread(1, handle.get_size())
        raise AssertionError("a read beyond the end")
    except nbd.Error as error:
        assert error.errno == "EINVAL", error
    # The connection lives on.
    assert handle.pread(3, place + 1000) == content[1000:1003]
    handle.shutdown()


simple = nbd.NBD()
simple.set_request_structured_replies(False)
try_out(simple, 5000)

old = nbd.NBD()
old.set_request_structured_replies(False)
old.set_handshake_flags(0)
try_out(old, 70_001)
