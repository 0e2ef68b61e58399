"""What a backup program does with pyVmomi: log in, find a machine, make and remove a snapshot.

Arguments: server, port, user, password file, name of a machine. Prints what it found, one `key=value` in a line.
"""

import ssl
import sys

from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim


def find(content, name):
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    found = [machine for machine in view.view if machine.name == name]
    view.Destroy()
    return found[0]


def by_folders(content, name):
    """The same by walking from the root."""
    for datacenter in content.rootFolder.childEntity:
        for machine in datacenter.vmFolder.childEntity:
            if machine.name == name:
                return machine
    return None


def by_traversal(content, name):
    """The same with one call of the property collector."""
    collector = vim.PropertyCollector
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    way = collector.TraversalSpec(name="view", path="view", skip=False, type=vim.view.ContainerView)
    begin = collector.ObjectSpec(obj=view, skip=True, selectSet=[way])
    wanted = collector.PropertySpec(type=vim.VirtualMachine, pathSet=["name", "runtime.powerState"])
    spec = collector.FilterSpec(objectSet=[begin], propSet=[wanted])
    found = content.propertyCollector.RetrievePropertiesEx([spec], collector.RetrieveOptions())
    for item in found.objects:
        properties = {entry.name: entry.val for entry in item.propSet}
        if properties["name"] == name:
            return item.obj, properties["runtime.powerState"]
    return None, None


def disks(devices):
    return [device for device in devices if isinstance(device, vim.vm.device.VirtualDisk)]


def main():
    server, port, user, password_file, name = sys.argv[1:]
    with open(password_file, encoding="utf-8") as file:
        password = file.readline().rstrip("\n")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        SmartConnect(host=server, port=int(port), user=user, pwd="wrong", sslContext=context)
        raise SystemExit("a wrong password was accepted")
    except vim.fault.InvalidLogin:
        print("wrong-password=refused")
    service = SmartConnect(host=server, port=int(port), user=user, pwd=password, sslContext=context)
    content = service.RetrieveContent()
    print(f"api={content.about.apiType} {content.about.apiVersion}")
    print(f"user={content.sessionManager.currentSession.userName}")
    machine = find(content, name)
    assert by_folders(content, name) == machine, "found by folders"
    assert by_traversal(content, name) == (machine, machine.runtime.powerState), "found by traversal"
    uuid = machine.config.uuid
    assert content.searchIndex.FindByUuid(None, uuid, True, False) == machine, "found by its uuid"
    print(f"vm={machine._moId} {machine.runtime.powerState}")
    for disk in disks(machine.config.hardware.device):
        print(f"disk={disk.key} {disk.backing.fileName}")

    WaitForTask(machine.ReconfigVM_Task(vim.vm.ConfigSpec(changeTrackingEnabled=True)))
    task = machine.CreateSnapshot_Task(name="by pyVmomi", description="", memory=False, quiesce=False)
    WaitForTask(task)
    snapshot = task.info.result
    assert machine.snapshot.currentSnapshot == snapshot, "it is the current snapshot"
    frozen = disks(snapshot.config.hardware.device)[0]
    print(f"snapshot={snapshot._moId}")
    print(f"frozen={frozen.backing.fileName}")
    assert frozen.backing.changeId, "a change id"
    present = disks(machine.config.hardware.device)[0]
    assert present.backing.parent.fileName == frozen.backing.fileName, "the snapshot is its parent"
    areas = machine.QueryChangedDiskAreas(snapshot, frozen.key, 0, "*")
    print(f"areas={len(areas.changedArea)} {areas.length}")
    assert all(area.start % 65536 == 0 for area in areas.changedArea), "whole blocks"
    WaitForTask(snapshot.RemoveSnapshot_Task(removeChildren=False))
    after = disks(machine.config.hardware.device)[0]
    print(f"after={after.backing.fileName}")
    try:
        vim.VirtualMachine("vm-none", service._stub).name
        raise SystemExit("a machine that is not there has a name")
    except vim.fault.ManagedObjectNotFound if hasattr(vim.fault, "ManagedObjectNotFound") else Exception as error:
        print(f"missing={type(error).__name__}")
    Disconnect(service)
    try:
        machine.name
        raise SystemExit("there is still a session")
    except vim.fault.NotAuthenticated:
        print("logged-out=yes")


main()
