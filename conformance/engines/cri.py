"""A client of the CRI service, as small as the checks want it; Debian has none. Its messages are made from the service's description."""

import argparse
import os
import re
import subprocess
import sys
import time

import grpc

OUTPUT = "/tmp/cri"
SOURCE = "/usr/share/gocode/src/k8s.io/cri-api/pkg/apis/runtime/v1/api.proto"
IS_SYSTEMD = os.path.isdir("/run/systemd/system")
PIDS = {"pod": 0, "container": 1, "node": 2}
NODE = 2
PROPAGATION = {"private": 0, "host-to-container": 1, "bidirectional": 2}

if not os.path.exists(f"{OUTPUT}/api_pb2.py"):
    os.makedirs(OUTPUT, exist_ok=True)
    # An option that Debian's protoc does not know yet; it says what logs leave out.
    text = re.sub(r"\[\s*debug_redact\s*=\s*true\s*\]", "", open(SOURCE).read())
    open(f"{OUTPUT}/api.proto", "w").write(text)
    subprocess.run(["protoc", f"-I{OUTPUT}", f"--python_out={OUTPUT}", f"{OUTPUT}/api.proto"], check=True)
sys.path.insert(0, OUTPUT)
import api_pb2 as api  # noqa: E402

channel = grpc.insecure_channel("unix:///run/containerd/containerd.sock")


def call(method, request, answer):
    function = channel.unary_unary(f"/runtime.v1.RuntimeService/{method}", lambda message: message.SerializeToString(), answer.FromString)
    try:
        return function(request, timeout=120)
    except grpc.RpcError as error:
        sys.exit(f"{method}: {error.details()}")


def mount(text):
    """HOST:CONTAINER:PROPAGATION, and :ro"""
    host, container, propagation, *readonly = text.split(":")
    return api.Mount(host_path=host, container_path=container, propagation=PROPAGATION[propagation], readonly=bool(readonly))


def namespaces(options):
    node = NODE if options.host_network else 0
    ids = [api.IDMapping(host_id=200000, container_id=0, length=65536)]
    users = api.UserNamespace(mode=0, uids=ids, gids=ids) if options.user_namespace else None
    return api.NamespaceOption(pid=PIDS[options.pid], network=node, ipc=node, userns_options=users)


def pod_config(name, options):
    security = api.LinuxSandboxSecurityContext(namespace_options=namespaces(options), privileged=options.privileged)
    linux = api.LinuxPodSandboxConfig(cgroup_parent="pods.slice" if IS_SYSTEMD else "/pods", security_context=security)
    metadata = api.PodSandboxMetadata(name=name, uid=name, namespace="default")
    # A pod in the host's network has the host's name.
    hostname = "" if options.host_network else name
    return api.PodSandboxConfig(metadata=metadata, hostname=hostname, log_directory="/tmp/pods", linux=linux)


def run_pod(options):
    request = api.RunPodSandboxRequest(config=pod_config(options.name, options), runtime_handler=options.handler)
    print(call("RunPodSandbox", request, api.RunPodSandboxResponse).pod_sandbox_id)


def run(options):
    user = api.Int64Value(value=options.user) if options.user else None
    linux = api.LinuxContainerConfig(
        resources=api.LinuxContainerResources(memory_limit_in_bytes=options.memory),
        security_context=api.LinuxContainerSecurityContext(
            namespace_options=namespaces(options), privileged=options.privileged, run_as_user=user
        ),
    )
    container = api.ContainerConfig(
        metadata=api.ContainerMetadata(name=options.name),
        image=api.ImageSpec(image=options.image),
        command=options.command,
        mounts=options.mount,
        log_path=f"{options.name}.log",
        linux=linux,
    )
    request = api.CreateContainerRequest(pod_sandbox_id=options.pod, config=container, sandbox_config=pod_config(options.pod, options))
    id = call("CreateContainer", request, api.CreateContainerResponse).container_id
    call("StartContainer", api.StartContainerRequest(container_id=id), api.StartContainerResponse)
    print(id)


def wait(options):
    """Prints the status of a container that ends, and the reason."""
    for _ in range(600):
        status = call("ContainerStatus", api.ContainerStatusRequest(container_id=options.id), api.ContainerStatusResponse).status
        if status.state == api.CONTAINER_EXITED:
            print(status.exit_code, status.reason)
            return
        time.sleep(0.1)
    sys.exit("it does not end")


def exec(options):
    request = api.ExecSyncRequest(container_id=options.id, cmd=options.command, timeout=60)
    answer = call("ExecSync", request, api.ExecSyncResponse)
    sys.stdout.buffer.write(answer.stdout)
    sys.stderr.buffer.write(answer.stderr)
    sys.exit(answer.exit_code)


def update(options):
    resources = api.LinuxContainerResources(memory_limit_in_bytes=options.memory)
    request = api.UpdateContainerResourcesRequest(container_id=options.id, linux=resources)
    call("UpdateContainerResources", request, api.UpdateContainerResourcesResponse)


def stop(options):
    call("StopContainer", api.StopContainerRequest(container_id=options.id), api.StopContainerResponse)


def remove(options):
    call("RemoveContainer", api.RemoveContainerRequest(container_id=options.id), api.RemoveContainerResponse)


def stop_pod(options):
    call("StopPodSandbox", api.StopPodSandboxRequest(pod_sandbox_id=options.id), api.StopPodSandboxResponse)


def remove_pod(options):
    stop_pod(options)
    call("RemovePodSandbox", api.RemovePodSandboxRequest(pod_sandbox_id=options.id), api.RemovePodSandboxResponse)


def pods(options):
    for pod in call("ListPodSandbox", api.ListPodSandboxRequest(), api.ListPodSandboxResponse).items:
        print(pod.id)


def version(options):
    answer = call("Version", api.VersionRequest(), api.VersionResponse)
    print(answer.runtime_name, answer.runtime_version, answer.runtime_api_version)


parser = argparse.ArgumentParser()
commands = parser.add_subparsers(required=True)
for function in [run_pod, run, wait, exec, update, stop, remove, stop_pod, remove_pod, pods, version]:
    command = commands.add_parser(function.__name__.replace("_", "-"))
    command.set_defaults(function=function)
    if function in (run_pod, run):
        command.add_argument("--pid", choices=PIDS, default="container")
        command.add_argument("--host-network", action="store_true")
        command.add_argument("--privileged", action="store_true")
        command.add_argument("--user-namespace", action="store_true")
    if function is run_pod:
        command.add_argument("--handler", default="")
    if function in (run, update):
        command.add_argument("--memory", type=int, default=0)
    if function is run:
        command.add_argument("--mount", type=mount, action="append")
        command.add_argument("--user", type=int, default=0)
        command.add_argument("pod")
    if function in (run_pod, run):
        command.add_argument("name")
    if function is run:
        command.add_argument("image")
    if function in (exec, wait, update, stop, remove, stop_pod, remove_pod):
        command.add_argument("id")
    if function in (run, exec):
        command.add_argument("command", nargs=argparse.REMAINDER)
options = parser.parse_args()
options.function(options)
