"""A client of the CRI service, as small as the checks want it; Debian has none. Its messages are made from the service's description."""

import argparse
import os
import re
import subprocess
import sys

import grpc

OUTPUT = "/tmp/cri"
SOURCE = "/usr/share/gocode/src/k8s.io/cri-api/pkg/apis/runtime/v1/api.proto"
IS_SYSTEMD = os.path.isdir("/run/systemd/system")
PIDS = {"pod": 0, "container": 1}
NODE = 2

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


def pod_config(name, options):
    namespaces = api.NamespaceOption(pid=PIDS[options.pid], network=NODE if options.host_network else 0)
    linux = api.LinuxPodSandboxConfig(
        cgroup_parent="pods.slice" if IS_SYSTEMD else "/pods",
        security_context=api.LinuxSandboxSecurityContext(namespace_options=namespaces),
    )
    metadata = api.PodSandboxMetadata(name=name, uid=name, namespace="default")
    # A pod in the host's network has the host's name.
    hostname = "" if options.host_network else name
    return api.PodSandboxConfig(metadata=metadata, hostname=hostname, log_directory="/tmp/pods", linux=linux)


def run_pod(options):
    request = api.RunPodSandboxRequest(config=pod_config(options.name, options))
    print(call("RunPodSandbox", request, api.RunPodSandboxResponse).pod_sandbox_id)


def run(options):
    namespaces = api.NamespaceOption(pid=PIDS[options.pid], network=NODE if options.host_network else 0)
    linux = api.LinuxContainerConfig(
        resources=api.LinuxContainerResources(memory_limit_in_bytes=options.memory),
        security_context=api.LinuxContainerSecurityContext(namespace_options=namespaces),
    )
    container = api.ContainerConfig(
        metadata=api.ContainerMetadata(name=options.name),
        image=api.ImageSpec(image=options.image),
        command=options.command,
        log_path=f"{options.name}.log",
        linux=linux,
    )
    request = api.CreateContainerRequest(pod_sandbox_id=options.pod, config=container, sandbox_config=pod_config(options.pod, options))
    id = call("CreateContainer", request, api.CreateContainerResponse).container_id
    call("StartContainer", api.StartContainerRequest(container_id=id), api.StartContainerResponse)
    print(id)


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
for function in [run_pod, run, exec, update, stop, remove, stop_pod, remove_pod, pods, version]:
    command = commands.add_parser(function.__name__.replace("_", "-"))
    command.set_defaults(function=function)
    if function in (run_pod, run):
        command.add_argument("--pid", choices=PIDS, default="container")
        command.add_argument("--host-network", action="store_true")
    if function in (run, update):
        command.add_argument("--memory", type=int, default=0)
    if function is run:
        command.add_argument("pod")
    if function in (run_pod, run):
        command.add_argument("name")
    if function is run:
        command.add_argument("image")
    if function in (exec, update, stop, remove, stop_pod, remove_pod):
        command.add_argument("id")
    if function in (run, exec):
        command.add_argument("command", nargs=argparse.REMAINDER)
options = parser.parse_args()
options.function(options)
