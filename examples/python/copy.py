"""Copies what a virtual disk holds into a new one, with the standard library of Python and libvixDiskLib.so.

    copy.py SOURCE.vmdk TARGET.vmdk [LIBRARY]

LIBRARY is libvixDiskLib.so.8 by default, as the loader finds it, or the path of another one.

Only what is allocated is read, by requests of which several are in flight; what was read is written in the same way.
The SHA-256 of both disks shows that they hold the same.
"""

import ctypes as c
import hashlib
import os
import queue
import sys

SECTOR = 512
# The smallest unit that the library tells allocated from not, and the most of them that it tells of at once.
CHUNK, MOST_CHUNKS = 128, 512 * 1024
# 1 MiB: a request of this size is fast everywhere.
PIECE = 2048
IN_FLIGHT = 8
READ_ONLY = 4
OK, ASYNC = 0, 25000
MONOLITHIC_SPARSE, LSI_LOGIC, HARDWARE = 1, 3, 13

Error, Sectors, Handle, Text = c.c_uint64, c.c_uint64, c.c_void_p, c.c_char_p


class Geometry(c.Structure):
    _fields_ = [("cylinders", c.c_uint32), ("heads", c.c_uint32), ("sectors", c.c_uint32)]


class Info(c.Structure):
    _fields_ = [
        ("bios_geometry", Geometry),
        ("geometry", Geometry),
        ("capacity", Sectors),
        ("adapter", c.c_int),
        ("links", c.c_int),
        ("parent_hint", Text),
        ("uuid", Text),
        # The last two are there since release 7.0.
        ("logical_sector_size", c.c_uint32),
        ("physical_sector_size", c.c_uint32),
    ]


class CreateParams(c.Structure):
    _fields_ = [
        ("disk_type", c.c_int),
        ("adapter", c.c_int),
        ("hardware", c.c_uint16),
        ("capacity", Sectors),
        # The same.
        ("logical_sector_size", c.c_uint32),
        ("physical_sector_size", c.c_uint32),
    ]


class Block(c.Structure):
    _fields_ = [("offset", Sectors), ("length", Sectors)]


class BlockList(c.Structure):
    # The array is really as long as the count says.
    _fields_ = [("count", c.c_uint32), ("blocks", Block * 1)]


# `va_list` is passed as a pointer by the C compilers of Linux on x86-64 and AArch64.
LogFunction = c.CFUNCTYPE(None, Text, c.c_void_p)
Completion = c.CFUNCTYPE(None, c.c_void_p, Error)

FUNCTIONS = {
    "InitEx": (Error, [c.c_uint32, c.c_uint32, LogFunction, LogFunction, LogFunction, Text, Text]),
    "Exit": (None, []),
    "Connect": (Error, [c.c_void_p, c.POINTER(Handle)]),
    "Disconnect": (Error, [Handle]),
    "Create": (Error, [Handle, Text, c.POINTER(CreateParams), c.c_void_p, c.c_void_p]),
    "Open": (Error, [Handle, Text, c.c_uint32, c.POINTER(Handle)]),
    "Close": (Error, [Handle]),
    "GetInfo": (Error, [Handle, c.POINTER(c.POINTER(Info))]),
    "FreeInfo": (None, [c.POINTER(Info)]),
    "Read": (Error, [Handle, Sectors, Sectors, c.c_void_p]),
    "ReadAsync": (Error, [Handle, Sectors, Sectors, c.c_void_p, Completion, c.c_void_p]),
    "WriteAsync": (Error, [Handle, Sectors, Sectors, c.c_void_p, Completion, c.c_void_p]),
    "Wait": (Error, [Handle]),
    "Flush": (Error, [Handle]),
    "QueryAllocatedBlocks": (Error, [Handle, Sectors, Sectors, Sectors, c.POINTER(c.POINTER(BlockList))]),
    "FreeBlockList": (Error, [c.POINTER(BlockList)]),
    "GetErrorText": (c.c_void_p, [Error, Text]),
    "FreeErrorText": (None, [c.c_void_p]),
}


class Failure(Exception):
    """A call of the library that failed."""


class Library:
    """libvixDiskLib.so, started; once per process."""

    def __init__(self, path):
        library = c.CDLL(path)
        for name, (result, arguments) in FUNCTIONS.items():
            function = getattr(library, "VixDiskLib_" + name)
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)
        # What C calls must be kept for as long as it may.
        self._functions = LogFunction(lambda *_line: None), LogFunction(self._warn), LogFunction(self._warn)
        self.must("start", self.InitEx(7, 0, *self._functions, None, None))

    @staticmethod
    def _warn(form, arguments):
        line = c.create_string_buffer(4096)
        c.CDLL(None).vsnprintf(line, c.c_size_t(len(line)), c.c_char_p(form), c.c_void_p(arguments))
        print(line.value.decode(errors="replace").rstrip("\n"), file=sys.stderr)

    def must(self, what, error):
        """Raises what the library says of a failure."""
        if error == OK:
            return
        text = self.GetErrorText(error, None)
        meaning = c.string_at(text).decode() if text else "no text"
        self.FreeErrorText(text)
        raise Failure(f"cannot {what}: {meaning} (code {error & 0xFFFF})")


class Disk:
    """An open disk."""

    def __init__(self, library, connection, path, flags):
        self.library, self.path, self.handle = library, path, Handle()
        error = library.Open(connection, os.fsencode(path), flags, c.byref(self.handle))
        library.must(f"open {path}", error)

    def __enter__(self):
        return self

    def __exit__(self, kind, _value, _trace):
        error = self.library.Close(self.handle)
        # The first failure is the one to tell of.
        if kind is None:
            self.library.must(f"close {self.path}", error)

    def capacity(self):
        """In sectors."""
        info = c.POINTER(Info)()
        self.library.must(f"ask about {self.path}", self.library.GetInfo(self.handle, c.byref(info)))
        capacity = info.contents.capacity
        self.library.FreeInfo(info)
        return capacity

    def pieces(self):
        """What is allocated, as first sector and number of sectors, in order and small enough for one request."""
        capacity = self.capacity()
        whole, portion = capacity // CHUNK * CHUNK, CHUNK * MOST_CHUNKS
        for start in range(0, whole, portion):
            for offset, length in self._blocks(start, min(portion, whole - start)):
                for first in range(offset, offset + length, PIECE):
                    yield first, min(PIECE, offset + length - first)
        # The rest of the last chunk cannot be asked for, so it counts as allocated.
        if whole < capacity:
            yield whole, capacity - whole

    def _blocks(self, start, count):
        found = c.POINTER(BlockList)()
        error = self.library.QueryAllocatedBlocks(self.handle, start, count, CHUNK, c.byref(found))
        self.library.must(f"ask for the blocks of {self.path}", error)
        first = c.addressof(found.contents) + BlockList.blocks.offset
        blocks = [(block.offset, block.length) for block in (Block * found.contents.count).from_address(first)]
        self.library.must("free the blocks", self.library.FreeBlockList(found))
        return blocks

    def flush(self):
        """Makes all that was written durable."""
        self.library.must(f"flush {self.path}", self.library.Flush(self.handle))


class Request:
    """A buffer, and what is done with it. The library uses it from the submission to the callback."""

    def __init__(self, finished):
        self.buffer = c.create_string_buffer(PIECE * SECTOR)
        self.first = self.count = 0
        self.disk = self.error = None
        # Called on a thread of the library, maybe before the submission returns.
        self._callback = Completion(lambda _data, error: finished.put((self, error)))

    def submit(self, disk, function):
        """Begins to read or write the piece."""
        self.disk = disk
        error = function(disk.handle, self.first, self.count, self.buffer, self._callback, None)
        # Only this says that the callback comes.
        if error != ASYNC:
            disk.library.must(f"begin with sector {self.first} of {disk.path}", error)
            raise Failure(f"{disk.path}: a request is neither accepted nor refused")


def copy(source, target):
    """Copies what is allocated. Each request reads a piece, then writes it, then takes the next."""
    library = source.library
    finished = queue.SimpleQueue()
    free = [Request(finished) for _ in range(IN_FLIGHT)]
    pieces = source.pieces()
    busy = 0
    try:
        while True:
            while free and (piece := next(pieces, None)):
                request = free.pop()
                request.first, request.count = piece
                request.submit(source, library.ReadAsync)
                busy += 1
            if busy == 0:
                break
            request, error = finished.get()
            busy -= 1
            library.must(f"copy sector {request.first} of {request.disk.path}", error)
            if request.disk is source:
                request.submit(target, library.WriteAsync)
                busy += 1
            else:
                free.append(request)
    finally:
        # After a failure too: the buffers are in use until then.
        library.Wait(source.handle)
        library.Wait(target.handle)
    target.flush()


def checksum(disk):
    """The SHA-256 of the whole disk, in hexadecimal; with one call at a time."""
    digest = hashlib.sha256()
    zeroes = bytes(PIECE * SECTOR)
    buffer = c.create_string_buffer(PIECE * SECTOR)
    position = 0

    def skip_to(sector):
        nonlocal position
        while position < sector:
            count = min(PIECE, sector - position)
            digest.update(zeroes[: count * SECTOR])
            position += count

    for first, count in disk.pieces():
        skip_to(first)
        disk.library.must(f"read {disk.path}", disk.library.Read(disk.handle, first, count, buffer))
        digest.update(memoryview(buffer)[: count * SECTOR])
        position += count
    skip_to(disk.capacity())
    return digest.hexdigest()


def run(library, source_path, target_path):
    connection = Handle()
    library.must("connect", library.Connect(None, c.byref(connection)))
    try:
        with Disk(library, connection, source_path, READ_ONLY) as source:
            params = CreateParams(MONOLITHIC_SPARSE, LSI_LOGIC, HARDWARE, source.capacity(), 0, 0)
            error = library.Create(connection, os.fsencode(target_path), c.byref(params), None, None)
            library.must(f"create {target_path}", error)
            with Disk(library, connection, target_path, 0) as target:
                copy(source, target)
            expected = checksum(source)
        with Disk(library, connection, target_path, READ_ONLY) as target:
            if checksum(target) != expected:
                raise Failure(f"{target_path} does not hold what {source_path} does")
        print(expected)
    finally:
        library.must("disconnect", library.Disconnect(connection))


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    library = Library(sys.argv[3] if len(sys.argv) == 4 else "libvixDiskLib.so.8")
    try:
        # VDDK wants absolute paths.
        run(library, os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]))
    except Failure as failure:
        sys.exit(str(failure))
    finally:
        library.Exit()


main()
