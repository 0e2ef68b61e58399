"""A program that breaks a rule of VDDK, from Python, on the library that checks them.

    rules.py LIBRARY DISK right|FAULT

With "right" it does everything right; each fault does one thing wrong.
"""

import ctypes as c
import sys
import threading

ERROR, HANDLE, TEXT = c.c_uint64, c.c_void_p, c.c_char_p
LOG = c.CFUNCTYPE(None, c.c_char_p, c.c_void_p)
CALLBACK = c.CFUNCTYPE(None, c.c_void_p, ERROR)
ASYNC = 25000


def main():
    path, disk_path, fault = sys.argv[1:]
    library = c.CDLL(path)
    for name in ["InitEx", "Connect", "Disconnect", "Open", "Close", "GetInfo", "Read", "ReadAsync", "Wait"]:
        getattr(library, "VixDiskLib_" + name).restype = ERROR
    library.VixDiskLib_Exit.restype = None
    quiet = LOG(lambda _format, _arguments: None)
    connection, disk, info = HANDLE(), HANDLE(), c.c_void_p()
    buffer = c.create_string_buffer(512)

    assert library.VixDiskLib_InitEx(8, 0, quiet, quiet, None if fault == "init-null-log" else quiet, None, None) == 0
    assert library.VixDiskLib_Connect(None, c.byref(connection)) == 0
    assert library.VixDiskLib_Open(connection, disk_path.encode(), 4, c.byref(disk)) == 0

    # ctypes lets other threads run during a call, and calls back into the interpreter from the library's threads.
    results = []
    done = CALLBACK(lambda _data, result: results.append(result))
    start = c.c_uint64(0)
    one = c.c_uint64(1)
    assert library.VixDiskLib_ReadAsync(disk, start, one, buffer, done, None) == ASYNC
    assert library.VixDiskLib_Wait(disk) == 0
    assert results == [0]

    assert library.VixDiskLib_GetInfo(disk, c.byref(info)) == 0
    if fault != "leaked-info":
        library.VixDiskLib_FreeInfo(info)
    if fault == "double-free":
        library.VixDiskLib_FreeInfo(info)
    if fault == "out-of-range":
        library.VixDiskLib_Read(disk, c.c_uint64(1 << 40), one, buffer)

    def close():
        library.VixDiskLib_Close(disk)

    if fault == "open-thread":
        thread = threading.Thread(target=close)
        thread.start()
        thread.join()
    else:
        close()
    if fault == "dead-handle":
        library.VixDiskLib_Read(disk, start, one, buffer)
    if fault != "exit-live-connections":
        library.VixDiskLib_Disconnect(connection)
    library.VixDiskLib_Exit()


main()
