"""Our shared library from Python: what a script does that loads VDDK with ctypes.

    tour.py LIBRARY DISK OUTPUT

The layouts here are written down anew, so that they check those of the headers.
"""

import ctypes as c
import sys


class Geometry(c.Structure):
    _fields_ = [("cylinders", c.c_uint32), ("heads", c.c_uint32), ("sectors", c.c_uint32)]


class Info(c.Structure):
    _fields_ = [
        ("bios", Geometry),
        ("physical", Geometry),
        ("capacity", c.c_uint64),
        ("adapter", c.c_int),
        ("links", c.c_int),
        ("parent_hint", c.c_char_p),
        ("uuid", c.c_char_p),
        ("logical_sector", c.c_uint32),
        ("physical_sector", c.c_uint32),
    ]


class Block(c.Structure):
    _fields_ = [("offset", c.c_uint64), ("length", c.c_uint64)]


class BlockList(c.Structure):
    _fields_ = [("count", c.c_uint32), ("blocks", Block * 1)]


ERROR, SECTORS, HANDLE, TEXT = c.c_uint64, c.c_uint64, c.c_void_p, c.c_char_p
READ_ONLY, ASYNC, CHUNK = 4, 25000, 128
CALLBACK = c.CFUNCTYPE(None, c.c_void_p, ERROR)


def declare(library):
    signatures = {
        "Init": (ERROR, [c.c_uint32, c.c_uint32, c.c_void_p, c.c_void_p, c.c_void_p, TEXT]),
        "Exit": (None, []),
        "Connect": (ERROR, [c.c_void_p, c.POINTER(HANDLE)]),
        "Disconnect": (ERROR, [HANDLE]),
        "Open": (ERROR, [HANDLE, TEXT, c.c_uint32, c.POINTER(HANDLE)]),
        "Close": (ERROR, [HANDLE]),
        "GetInfo": (ERROR, [HANDLE, c.POINTER(c.POINTER(Info))]),
        "FreeInfo": (None, [c.POINTER(Info)]),
        "Read": (ERROR, [HANDLE, SECTORS, SECTORS, c.c_void_p]),
        "ReadAsync": (ERROR, [HANDLE, SECTORS, SECTORS, c.c_void_p, CALLBACK, c.c_void_p]),
        "Wait": (ERROR, [HANDLE]),
        "QueryAllocatedBlocks": (ERROR, [HANDLE, SECTORS, SECTORS, SECTORS, c.POINTER(c.POINTER(BlockList))]),
        "FreeBlockList": (ERROR, [c.POINTER(BlockList)]),
        "GetMetadataKeys": (ERROR, [HANDLE, TEXT, c.c_size_t, c.POINTER(c.c_size_t)]),
        "GetErrorText": (c.c_void_p, [ERROR, TEXT]),
        "FreeErrorText": (None, [c.c_void_p]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, "VixDiskLib_" + name)
        function.restype, function.argtypes = result, arguments


def must(library, error):
    if error != 0:
        text = library.VixDiskLib_GetErrorText(error, None)
        message = c.string_at(text).decode()
        library.VixDiskLib_FreeErrorText(text)
        sys.exit(f"{message} ({error})")


def main():
    path, disk_path, output = sys.argv[1:]
    library = c.CDLL(path)
    declare(library)
    must(library, library.VixDiskLib_Init(7, 0, None, None, None, None))
    connection, disk = HANDLE(), HANDLE()
    must(library, library.VixDiskLib_Connect(None, c.byref(connection)))
    must(library, library.VixDiskLib_Open(connection, disk_path.encode(), READ_ONLY, c.byref(disk)))

    info = c.POINTER(Info)()
    must(library, library.VixDiskLib_GetInfo(disk, c.byref(info)))
    capacity = info.contents.capacity
    print(f"capacity {capacity}")
    print(f"links {info.contents.links}")
    library.VixDiskLib_FreeInfo(info)

    need = c.c_size_t()
    library.VixDiskLib_GetMetadataKeys(disk, None, 0, c.byref(need))
    keys = c.create_string_buffer(need.value)
    must(library, library.VixDiskLib_GetMetadataKeys(disk, keys, need.value, c.byref(need)))
    for key in keys.raw.rstrip(b"\0").split(b"\0"):
        print(f"key {key.decode()}")

    blocks = c.POINTER(BlockList)()
    whole = capacity // CHUNK * CHUNK
    must(library, library.VixDiskLib_QueryAllocatedBlocks(disk, 0, whole, CHUNK, c.byref(blocks)))
    first = c.addressof(blocks.contents) + BlockList.blocks.offset
    for block in (Block * blocks.contents.count).from_address(first):
        print(f"block {block.offset} {block.length}")
    must(library, library.VixDiskLib_FreeBlockList(blocks))

    content = c.create_string_buffer(capacity * 512)
    must(library, library.VixDiskLib_Read(disk, 0, capacity, content))
    again = c.create_string_buffer(capacity * 512)
    results = []
    callback = CALLBACK(lambda _data, result: results.append(result))
    if library.VixDiskLib_ReadAsync(disk, 0, capacity, again, callback, None) != ASYNC:
        sys.exit("an asynchronous read is not accepted")
    must(library, library.VixDiskLib_Wait(disk))
    if results != [0] or again.raw != content.raw:
        sys.exit(f"an asynchronous read went wrong: {results}")
    with open(output, "wb") as file:
        file.write(content.raw)

    must(library, library.VixDiskLib_Close(disk))
    must(library, library.VixDiskLib_Disconnect(connection))
    library.VixDiskLib_Exit()


main()
