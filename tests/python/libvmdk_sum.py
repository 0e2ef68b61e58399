"""Prints the SHA-256 of all that libvmdk reads from a disk: its own file, then those of its parents, leaf to base."""

import hashlib
import sys

import pyvmdk

links = []
for path in sys.argv[1:]:
    link = pyvmdk.handle()
    link.open(path)
    link.open_extent_data_files()
    links.append(link)
for child, parent in zip(links, links[1:]):
    child.set_parent(parent)

leaf = links[0]
size = leaf.get_media_size()
digest = hashlib.sha256()
position = 0
while position < size:
    piece = leaf.read_buffer_at_offset(min(1 << 20, size - position), position)
    if not piece:
        sys.exit(f"nothing at {position} of {size}")
    digest.update(piece)
    position += len(piece)
print(digest.hexdigest())
