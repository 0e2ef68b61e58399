"""One connection to an NBD server, driven from standard input: libnbd as a test's client.

A request is a line of JSON, followed by as many raw bytes as its "payload" says; so is a reply. A request that the
server or libnbd refuses gets {"error": NAME}, where NAME is an errno name or "EOF" when the server is gone.
"""

import errno
import json
import sys

import nbd

FLAGS = {
    "fua": nbd.CMD_FLAG_FUA,
    "no-hole": nbd.CMD_FLAG_NO_HOLE,
    "fast-zero": nbd.CMD_FLAG_FAST_ZERO,
    "req-one": nbd.CMD_FLAG_REQ_ONE,
}
ALLOCATION = "base:allocation"


def facts(handle):
    return {
        "size": handle.get_size(),
        "minimum": max(1, handle.get_block_size(nbd.SIZE_MINIMUM)),
        "preferred": handle.get_block_size(nbd.SIZE_PREFERRED),
        "maximum": handle.get_block_size(nbd.SIZE_MAXIMUM),
        "read_only": handle.is_read_only(),
        "flush": handle.can_flush(),
        "fua": handle.can_fua(),
        "trim": handle.can_trim(),
        "zero": handle.can_zero(),
        "fast_zero": handle.can_fast_zero(),
        "multi_conn": handle.can_multi_conn(),
        "structured": handle.get_structured_replies_negotiated(),
        "allocation": handle.can_meta_context(ALLOCATION),
        "tls": handle.get_tls_negotiated(),
    }


def extents(handle, count, offset, flags):
    found = []

    def add(context, _offset, entries, _error):
        if context == ALLOCATION:
            found.extend(zip(entries[::2], entries[1::2]))
        return 0

    handle.block_status(count, offset, add, flags)
    return found


def answer(handle, request, payload):
    """The reply to one request, and its payload."""
    what = request["op"]
    offset = request.get("offset", 0)
    count = request.get("count", 0)
    flags = 0
    for name in request.get("flags", []):
        flags |= FLAGS[name]
    if what == "facts":
        return facts(handle), b""
    if what == "read":
        return {}, bytes(handle.pread(count, offset, flags))
    if what == "write":
        handle.pwrite(payload, offset, flags)
    elif what == "zero":
        handle.zero(count, offset, flags)
    elif what == "trim":
        handle.trim(count, offset, flags)
    elif what == "flush":
        handle.flush(flags)
    elif what == "extents":
        return {"extents": extents(handle, count, offset, flags)}, b""
    else:
        raise ValueError(what)
    return {}, b""


def main():
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    handle = nbd.NBD()
    handle.add_meta_context(ALLOCATION)
    # The server's answer is what is asked for: libnbd must not refuse a request on its own.
    handle.set_strict_mode(0)
    handle.connect_uri(sys.argv[1])
    for line in source:
        request = json.loads(line)
        payload = source.read(request.get("payload", 0))
        try:
            reply, content = answer(handle, request, payload)
        except nbd.Error as error:
            number = error.errnum
            gone = handle.aio_is_dead() or handle.aio_is_closed()
            reply = {"error": "EOF" if gone else errno.errorcode.get(number, str(number)), "text": error.string}
            content = b""
        reply["payload"] = len(content)
        sink.write(json.dumps(reply).encode() + b"\n" + content)
        sink.flush()


main()
