"""Starts a server as libnbd does it, on its standard input and output ("command") or by socket activation
("activation"), uses it, and prints the size of the export."""

import sys

import nbd

handle = nbd.NBD()
start = {
    "command": handle.connect_command,
    "activation": handle.connect_systemd_socket_activation,
}[sys.argv[1]]
start(sys.argv[2:])
content = bytes(range(256)) * 4
handle.pwrite(content, 77, nbd.CMD_FLAG_FUA)
assert handle.pread(len(content), 77) == content
print(handle.get_size())
handle.shutdown()
