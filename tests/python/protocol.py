"""A libnbd client that looks at single replies: protocol.py URI structured|simple

The disk is 640 KiB, with sevens in the second grain and zeroes, never written, in all others. It is read-only.
"""

import errno
import sys

import nbd

GRAIN = 65536
SIZE = 10 * GRAIN

uri, form = sys.argv[1:]
client = nbd.NBD()
client.add_meta_context("base:allocation")
client.set_request_structured_replies(form == "structured")
client.set_strict_mode(0)
client.connect_uri(uri)
assert client.get_size() == SIZE
assert client.get_structured_replies_negotiated() == (form == "structured")


def refused(call, *arguments):
    """The number that a call is refused with."""
    try:
        call(*arguments)
    except nbd.Error as error:
        return error.errnum
    raise AssertionError("not refused")


def chunks(length, offset, flags=0):
    """How the server cuts a read, and the content."""
    cut = []

    def note(_, at, status, error):
        assert error.value == 0
        cut.append(status)
        return 0

    content = client.pread_structured(length, offset, note, flags)
    return cut, bytes(content)


def extents(offset, length, flags=0):
    found = []

    def note(context, at, entries, error):
        assert (context, at) == ("base:allocation", offset)
        found.extend(entries)
        return 0

    client.block_status(length, offset, note, flags)
    return found


expected = bytes(GRAIN) + b"\x07" * GRAIN + bytes(8 * GRAIN)
data, hole = nbd.READ_DATA, nbd.READ_HOLE
if form == "structured":
    assert chunks(SIZE, 0) == ([hole, data, hole], expected)
    assert chunks(GRAIN, 0) == ([hole], bytes(GRAIN))
    # A byte of zeroes behind the data is not worth a chunk.
    assert chunks(GRAIN, GRAIN + 1) == ([data], expected[GRAIN + 1 : 2 * GRAIN + 1])
    assert chunks(SIZE, 0, nbd.CMD_FLAG_DF) == ([data], expected)
    assert extents(0, SIZE) == [GRAIN, 3, GRAIN, 0, 8 * GRAIN, 3]
    assert extents(0, SIZE, nbd.CMD_FLAG_REQ_ONE) == [GRAIN, 3]
    assert extents(GRAIN + 5, 10, nbd.CMD_FLAG_REQ_ONE) == [10, 0]
else:
    assert not client.can_df() and not client.can_meta_context("base:allocation")
    assert bytes(client.pread(SIZE, 0)) == expected
    assert refused(client.pread, GRAIN, 0, nbd.CMD_FLAG_DF) == errno.EINVAL
assert refused(client.pread, GRAIN, SIZE - 1) == errno.EINVAL
assert refused(client.pwrite, b"x" * 100000, 0) == errno.EPERM
assert refused(client.zero, GRAIN, 0) == errno.EPERM
assert refused(client.trim, GRAIN, 0) == errno.EPERM
assert refused(client.pread, 512, 0, nbd.CMD_FLAG_REQ_ONE) == errno.EINVAL
# The connection is in step after all of that.
assert bytes(client.pread(2 * GRAIN, 0)) == expected[:2 * GRAIN]
client.flush()
client.shutdown()
print("well")
