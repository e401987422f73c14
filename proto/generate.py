"""Generate ``vmsdk/_pb/`` from the ``.proto`` files beside this script.

``python proto/generate.py`` writes the files; ``--check`` writes nothing and exits with status 1 if
they are out of date. Any Python that vmsdk supports will do: the script creates a virtual
environment with the pinned compiler (requirements.txt) in ``.cache/``.

How the output differs from protoc's, and why:

* The packages on the wire are called ``io``, ``http``, ``vm``, ``net``. Top-level modules with
  these names would shadow the standard library's, and messages with these names in protobuf's
  process-wide pool would clash with any other library that includes the same protocol
  (``io.prometheus.client`` is a popular one). So files are compiled as ``vmsdk/_pb/...`` and
  packages as ``vmsdk.<package>``. A message's name is never on the wire, except inside a
  ``google.protobuf.Any``; services keep their names, because this script writes the service tables.
* Services become tables (``*_grpc.py``) of paths and message classes, which don't import gRPC and
  work for clients and servers, synchronous or not.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import re
import shlex
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.descriptor_pb2 import (
        DescriptorProto,
        FileDescriptorProto,
        FileDescriptorSet,
        MethodDescriptorProto,
        ServiceDescriptorProto,
    )

PROTO = Path(__file__).resolve().parent
ROOT = PROTO.parent
OUTPUT = ROOT / "vmsdk" / "_pb"
CACHE = ROOT / ".cache"

PYTHON_PACKAGE = "vmsdk._pb"
DESCRIPTOR_PREFIX = "vmsdk."
"""The prefix of every package name in protobuf's pool."""

GOOGLE = "google/protobuf/"


def main() -> int:
    parser = argparse.ArgumentParser(description="Generate vmsdk/_pb/ from proto/.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if vmsdk/_pb/ would change")
    arguments = parser.parse_args()
    try:
        return make(check=arguments.check)
    except subprocess.CalledProcessError as error:
        # pip or protoc has printed what is wrong.
        print(f"status {error.returncode} from {shlex.join(map(str, error.cmd))}", file=sys.stderr)
        return 1


def make(*, check: bool) -> int:
    python = cached_venv("proto", (PROTO / "requirements.txt").read_text("utf-8"))
    if Path(sys.prefix).resolve() != python.parent.parent.resolve():
        # -I: this script's directory has an io and an http, and PYTHONPATH may have anything.
        return subprocess.run([python, "-I", __file__, *sys.argv[1:]], check=False).returncode

    wanted = generate()
    found = {str(path.relative_to(OUTPUT)): path.read_bytes() for path in files_below(OUTPUT)}
    changed = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if check:
        for name in changed:
            print(f"vmsdk/_pb/{name} {describe(name, wanted, found)}", file=sys.stderr)
        if changed:
            print("vmsdk/_pb/ is out of date: run `python proto/generate.py`", file=sys.stderr)
        return bool(changed)

    for name in changed:
        path = OUTPUT / name
        if name in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(wanted[name])
        else:
            path.unlink()
    print(f"vmsdk/_pb/: {len(wanted)} files, {len(changed)} of them changed")
    return 0


def describe(name: str, wanted: dict[str, bytes], found: dict[str, bytes]) -> str:
    if name not in found:
        return "is missing"
    return "differs" if name in wanted else "is no longer generated"


def files_below(directory: Path) -> Iterator[Path]:
    for path in directory.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def cached_venv(name: str, requirements: str) -> Path:
    """Return the Python of a virtual environment in ``.cache/``, created first if it doesn't exist.

    Raises ``subprocess.CalledProcessError`` if pip fails, for example without a network.
    """
    identity = f"{sys.version_info[:2]}\n{requirements}"
    directory = CACHE / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    python = directory / "bin" / "python"
    complete = directory / "complete"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # A cache from another machine may point to a Python that does not exist here.
        if not (complete.exists() and python.exists()):
            venv.create(directory, clear=True, with_pip=True)
            listed = directory / "requirements.txt"
            listed.write_text(requirements, "utf-8")
            pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
            # --no-compile: most of it is never imported.
            subprocess.run([*pip, "install", "--quiet", "--no-compile", "-r", str(listed)], check=True)
            complete.touch()
    return python


def generate() -> dict[str, bytes]:
    """Return the contents of every file of ``vmsdk/_pb/``, by its path there."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        descriptors = compile_protos(directory)
        move_below_vmsdk(descriptors)
        texts = protoc_output(descriptors, directory)
    ours = [file for file in descriptors.file if not file.name.startswith(GOOGLE)]
    for file in ours:
        if file.service:
            texts[relative(module_path(file.name, "_grpc.py"))] = service_tables(file)
    texts["_service.py"] = f"{header('proto/service.py')}{(PROTO / 'service.py').read_text('utf-8')}"
    for directory in {parent for name in texts for parent in Path(name).parents}:
        texts[str(directory / "__init__.py")] = header("proto/")
    return {name: text.encode() for name, text in texts.items()}


def compile_protos(directory: Path) -> FileDescriptorSet:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    protos = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    output = directory / "compiled"
    protoc(
        f"-I{PROTO}", "--include_imports", "--include_source_info", f"--descriptor_set_out={output}", *protos
    )
    return FileDescriptorSet.FromString(output.read_bytes())


def protoc_output(descriptors: FileDescriptorSet, directory: Path) -> dict[str, str]:
    moved = directory / "moved"
    moved.write_bytes(descriptors.SerializeToString())
    output = directory / "output"
    output.mkdir()
    protos = [file.name for file in descriptors.file if not file.name.startswith(GOOGLE)]
    stubs = Path(sys.prefix) / "bin" / "protoc-gen-mypy"
    protoc(
        f"--descriptor_set_in={moved}",
        f"--python_out={output}",
        f"--plugin=protoc-gen-mypy={stubs}",
        f"--mypy_out=quiet:{output}",
        *protos,
    )
    texts = {}
    for path in files_below(output):
        name = relative(path.relative_to(output))
        source = re.sub(r"_pb2\.pyi?$", ".proto", name)
        texts[name] = header(f"proto/{source}") + path.read_text("utf-8")
    return texts


def protoc(*arguments: str) -> None:
    subprocess.run([sys.executable, "-I", "-m", "grpc_tools.protoc", *arguments], check=True)


def move_below_vmsdk(descriptors: FileDescriptorSet) -> None:
    for file in descriptors.file:
        if file.name.startswith(GOOGLE):
            continue
        file.name = moved_file(file.name)
        file.package = DESCRIPTOR_PREFIX + file.package
        file.dependency[:] = [moved_file(name) for name in file.dependency]
        for message in all_messages(file.message_type):
            for field in message.field:
                field.ClearField("json_name")  # always the default, so dead weight at import
                if field.type_name:
                    field.type_name = moved_type(field.type_name)
        for service in file.service:
            for method in service.method:
                method.input_type = moved_type(method.input_type)
                method.output_type = moved_type(method.output_type)


def moved_file(name: str) -> str:
    return name if name.startswith(GOOGLE) else f"{PYTHON_PACKAGE.replace('.', '/')}/{name}"


def moved_type(name: str) -> str:
    return name if name.startswith(".google.protobuf.") else f".{DESCRIPTOR_PREFIX}{name[1:]}"


def all_messages(messages: Iterable[DescriptorProto]) -> Iterator[DescriptorProto]:
    for message in messages:
        yield message
        yield from all_messages(message.nested_type)


def service_tables(file: FileDescriptorProto) -> str:
    modules: dict[str, str] = {}
    for service in file.service:
        for method in service.method:
            for type_name in (method.input_type, method.output_type):
                modules.update([message_module(file, type_name)])
    imports = [f"from {package} import {module}" for module, package in modules.items()]
    imports.append(f"from {PYTHON_PACKAGE}._service import Method, Service")
    blocks = ["\n".join(["from typing import Final", "", *sorted(imports)])]
    blocks.extend(service_table(file, service) for service in file.service)
    return header(f"proto/{relative(Path(file.name))}") + "\n\n\n".join(blocks) + "\n"


def service_table(file: FileDescriptorProto, service: ServiceDescriptorProto) -> str:
    full_name = f"{file.package.removeprefix(DESCRIPTOR_PREFIX)}.{service.name}"
    lines = [f"class {service.name}(Service):", f'    full_name = "{full_name}"', ""]
    for method in service.method:
        refuse_streaming(full_name, method)
        request = message_class(file, method.input_type)
        response = message_class(file, method.output_type)
        lines.append(
            f'    {method.name}: Final = Method("/{full_name}/{method.name}", {request}, {response})'
        )
    return "\n".join(lines)


def refuse_streaming(service: str, method: MethodDescriptorProto) -> None:
    if method.client_streaming or method.server_streaming:
        raise SystemExit(
            f"{service}.{method.name} streams, but the service tables support unary methods only"
        )


def message_class(file: FileDescriptorProto, type_name: str) -> str:
    module, _ = message_module(file, type_name)
    return f"{module}.{type_name.rpartition('.')[2]}"


def message_module(file: FileDescriptorProto, type_name: str) -> tuple[str, str]:
    """Return the module and package of a method's message: the service's own, or one of
    Google's.
    """
    package, _, message = type_name[1:].rpartition(".")
    if package == "google.protobuf":
        return f"{message.lower()}_pb2", package
    if package != file.package:
        raise SystemExit(f"{file.name}: {type_name} is not in the package of the service that uses it")
    path = module_path(file.name, "_pb2")
    return path.name, ".".join(path.parent.parts)


def module_path(proto: str, suffix: str) -> Path:
    return Path(proto.removesuffix(".proto") + suffix)


def relative(path: Path) -> str:
    return str(path.relative_to(PYTHON_PACKAGE.replace(".", "/")))


def header(source: str) -> str:
    return f"# Made by proto/generate.py from {source}: edit that instead.\n"


if __name__ == "__main__":
    sys.exit(main())
