"""Options one by one, in orders that programs do not use: list, ask for one export, ask for another, choose."""

import sys

import nbd

uri = sys.argv[1]
handle = nbd.NBD()
handle.set_opt_mode(True)
handle.connect_uri(uri)

names = []
handle.opt_list(lambda name, description: names.append(name) or 0)
assert names == sys.argv[2:], names

contexts = []
handle.set_export_name(names[1])
handle.opt_list_meta_context(lambda name: contexts.append(name) or 0)
assert "base:allocation" in contexts, contexts

handle.set_export_name("no such disk")
for option in (handle.opt_info, handle.opt_go):
    try:
        option()
        raise AssertionError("an export that is none")
    except nbd.Error as error:
        assert error.errno == "ENOENT", error

facts = []
for name in reversed(names):
    handle.set_export_name(name)
    handle.opt_info()
    facts.append((handle.get_size(), handle.is_read_only(), handle.can_multi_conn()))
    handle.opt_info()
    assert facts[-1][0] == handle.get_size()

handle.add_meta_context("base:allocation")
handle.opt_go()
chosen = (handle.get_size(), handle.is_read_only(), handle.can_multi_conn())
assert chosen == facts[-1], (chosen, facts)
assert handle.can_meta_context("base:allocation")
handle.shutdown()
