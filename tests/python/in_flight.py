"""Stops a server (URI, number of its process) while 64 reads are on their way: each gets its bytes, or ESHUTDOWN."""

import errno
import os
import signal
import sys

import nbd

SIZE = 1 << 20

handle = nbd.NBD()
handle.connect_uri(sys.argv[1])
expected = handle.pread(SIZE, 0)
buffers, outcomes = [], []


def answered(buffer, error):
    outcomes.append(error.value)
    return 1


for _ in range(64):
    buffer = nbd.Buffer(SIZE)
    buffers.append(buffer)
    handle.aio_pread(buffer, 0, lambda error, buffer=buffer: answered(buffer, error))
os.kill(int(sys.argv[2]), signal.SIGTERM)
while len(outcomes) < 64:
    handle.poll(-1)
assert set(outcomes) <= {0, errno.ESHUTDOWN}, outcomes
print(outcomes.count(0))
