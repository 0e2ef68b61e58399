# Every command with every flag, with and without structured replies, judged by what libnbd makes of the answers.
import errno
import sys

import nbd

uri = sys.argv[1]

def connect(structured, contexts=()):
    h = nbd.NBD()
    h.set_strict_mode(0)
    h.set_request_structured_replies(structured)
    for context in contexts:
        h.add_meta_context(context)
    h.connect_uri(uri)
    return h

def fails(number, function, *arguments, **keywords):
    try:
        function(*arguments, **keywords)
    except nbd.Error as error:
        assert error.errnum == number, (error, number)
        return
    raise AssertionError("no error")

for structured in (False, True):
    h = connect(structured, ["base:allocation"])
    assert h.get_structured_replies_negotiated() == structured
    assert h.can_df() == structured and h.can_meta_context("base:allocation") == structured
    size = h.get_size()
    h.pwrite(b"abc", 510, nbd.CMD_FLAG_FUA)
    assert bytes(h.pread(5, 509)) == b"\0abc\0"
    fails(errno.EINVAL, h.pread, 1, size)
    fails(errno.ENOSPC, h.pwrite, b"x", size)
    fails(errno.ENOSPC, h.zero, 2, size - 1)
    fails(errno.EINVAL, h.trim, 2, size - 1)
    fails(errno.EINVAL, h.cache, 2, size - 1)
    if structured:
        assert bytes(h.pread(65536, 0, nbd.CMD_FLAG_DF))[510:513] == b"abc"
        entries = []
        h.block_status(size, 0, lambda name, offset, e, error: entries.append((name, offset, e)) or 0)
        assert entries == [("base:allocation", 0, [65536, 0, size - 65536, 3])], entries
        entries.clear()
        h.block_status(size - 100, 100, lambda name, offset, e, error: entries.append(e) or 0, nbd.CMD_FLAG_REQ_ONE)
        assert entries == [[65436, 0]], entries
        chunks = []
        buf = h.pread_structured(1000, 7, lambda b, offset, status, error: chunks.append((len(b), offset, status)) or 0)
        assert chunks == [(1000, 7, nbd.READ_DATA)], chunks
    else:
        fails(errno.EINVAL, h.pread, 512, 0, nbd.CMD_FLAG_DF)
        fails(errno.EINVAL, h.block_status, 512, 0, lambda *a: 0)
    h.zero(512, 0, nbd.CMD_FLAG_NO_HOLE)
    fails(errno.ENOTSUP, h.zero, 512, 512, nbd.CMD_FLAG_FAST_ZERO)
    h.zero(65536, 0, nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_FUA)
    h.trim(512, 0, nbd.CMD_FLAG_FUA)
    h.flush()
    h.cache(512, 0)
    assert bytes(h.pread(4096, 0)) == bytes(4096)
    # Many at once: every answer belongs to its request.
    buffers = [(nbd.Buffer(4096), offset) for offset in range(0, size, 4096)]
    h.pwrite(b"here", 131072)
    cookies = [h.aio_pread(b, offset) for b, offset in buffers]
    while h.aio_in_flight() > 0:
        h.poll(-1)
    for cookie in cookies:
        assert h.aio_command_completed(cookie)
    for b, offset in buffers:
        assert bytes(b.to_bytearray()[:4]) == (b"here" if offset == 131072 else bytes(4))
    h.pwrite(bytes(4), 131072)
    h.shutdown()

# Negotiation by hand: questions, answers, and a change of mind.
h = nbd.NBD()
h.set_opt_mode(True)
h.connect_uri(uri)
h.opt_info()
size, flags = h.get_size(), h.can_fua()
names = []
h.opt_list(lambda name, description: names.append((name, description)) or 0)
assert names == [("disk é", "a disk in memory")], names
h.set_export_name("nowhere")
fails(errno.ENOENT, h.opt_go)
h.set_export_name("")
contexts = []
h.add_meta_context("base:")
h.opt_list_meta_context(lambda name: contexts.append(name) or 0)
assert contexts == ["base:allocation"], contexts
h.opt_info()
h.opt_go()
assert h.get_size() == size and h.can_fua() == flags
h.shutdown()
