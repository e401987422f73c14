"""The kinds of problems that a plugin's output shows."""

from __future__ import annotations

import re
import sys
from typing import NamedTuple

# A shared library. It is matched from the beginning of a word only, which takes linear time.
_LIBRARY = r"(?<!\S)(?P<name>\S{1,300}?\.so(?:\.\w+)*): "
# How Python's message ends, unlike one about a fallback.
_END_OF_MODULE = r"'?\.?(?:; .+ is not a package)?$"
# Modules of this version of Python and of other ones.
_STANDARD = "|".join(
    sorted(
        sys.stdlib_module_names
        | {"asynchat", "asyncore", "cgi", "distutils", "imp", "pipes", "smtpd", "telnetlib", "tomllib"}
    )
)
_VARIABLES = "a node gives its plugins AVALANCHE_VM_RUNTIME_ENGINE_ADDR, GRPC_… and GODEBUG, and nothing else"
_SET = "don't need it, or set it in the plugin: vmsdk install --env NAME=VALUE, or a script that exports it"
_COMMAND = (
    "its script can't run {name}",
    "write its absolute path, as a plugin has no PATH, and check that it exists and may be executed",
)


class Symptom(NamedTuple):
    """One kind of problem, recognised by output. Texts may refer to the groups of *pattern*."""

    code: str
    pattern: str
    what: str
    cure: str
    wide: bool = False
    """Whether a process may print this and keep running: then it counts only in a line marked as an
    error, or in one of the last. No pattern counts in a line marked as a warning or less."""


# The first that matches is the explanation. `{python}` is the plugin's Python.
SYMPTOMS = tuple(
    (symptom, re.compile(symptom.pattern, re.MULTILINE))
    for symptom in (
        Symptom(
            "interpreter",
            r"Fatal Python error: init_fs_encoding|No module named '?encodings'?$",
            "Python does not find its standard library",
            "don't set PYTHONHOME or PYTHONPATH for the plugin; if Python itself was moved, install it again",
        ),
        Symptom(
            "no-vmsdk",
            r"No module named '?(?P<name>(?:vmsdk|grpc|grpc_health|google)(?:\.[\w.]*)?)" + _END_OF_MODULE,
            "the plugin's Python, {python}, has no module {name}",
            "{python} -m pip install --upgrade vmsdk; if the environment was moved or its Python upgraded,"
            " create it again",
            wide=True,
        ),
        Symptom(
            "missing-module",
            rf"No module named '?(?P<name>{_STANDARD})(?:\.[\w.]*)?" + _END_OF_MODULE,
            "the plugin's Python, {python}, has no {name}, a part of Python itself that pip can't install",
            "use another version of Python that has it, or build this one with the library that {name} needs",
            wide=True,
        ),
        Symptom(
            "missing-module",
            r"No module named '?(?P<name>\w[\w.]*)" + _END_OF_MODULE,
            "the module {name} is missing where the node starts the VM",
            "install the package that has it: {python} -m pip install {package}. A plugin does not see"
            " what is only on PYTHONPATH or in the user's site-packages",
            wide=True,
        ),
        Symptom(
            "permission",
            _LIBRARY + "cannot open shared object file: Permission denied",
            "its user can't read the shared library {name}",
            "give the node's user access: chmod o+r, and o+x for its folders",
        ),
        Symptom(
            "shared-library",
            _LIBRARY + "(?:cannot open shared object file|No such file)",
            "the shared library {name} is missing",
            "install the system's package that has it (LD_LIBRARY_PATH is not passed on)",
        ),
        Symptom(
            "import-error",
            _LIBRARY + "cannot allocate memory in static TLS block",
            "the shared library {name} is loaded too late for its thread-local data",
            "import the module that needs it first",
        ),
        Symptom(
            "shared-library",
            r"version `(?P<name>[A-Z]\w*_[\w.]+)' not found",
            "it was built on a newer system: this one's libraries lack {name}",
            "build it on this system or an older one, or link it statically",
        ),
        Symptom(
            "import-error",
            r"VersionError: (?P<text>.*[Pp]rotobuf.*)|TypeError: Descriptors cannot be created directly",
            "protobuf is too old for vmsdk: {text}",
            "{python} -m pip install --upgrade protobuf",
        ),
        Symptom(
            "shared-library",
            r"symbol lookup error: (?P<text>.+)|Error relocating (?P<other>.+: symbol not found)",
            "its shared libraries are incompatible: {text}{other}",
            "look for an old library in LD_LIBRARY_PATH (env -i ldd -r FILE), or build it on this system",
        ),
        Symptom(
            "memory",
            r"failed to map segment from shared object",
            "it can't load a shared library: there is no memory, or the file system is mounted noexec",
            "raise the limit (LimitAS=, ulimit -v), or mount its file system without noexec",
        ),
        Symptom(
            "import-error",
            r"ImportError: (?P<text>.*(?:undefined symbol|wrong ELF class|invalid ELF header|incompatible"
            r" architecture|file too short|cannot import name 'cygrpc').*)",
            "an extension module is not made for this Python or machine: {text}",
            "install its package again with the plugin's Python: {python} -m pip install --force-reinstall"
            " PACKAGE",
        ),
        Symptom(
            "import-error",
            r"(?P<text>(?:module compiled against (?:ABI|API) version|numpy\.dtype size changed|The (?:grpc "
            r"package installed is at|installed pydantic-core) version).+)",
            "two installed packages are incompatible: {text}",
            "{python} -m pip check, then upgrade both",
        ),
        Symptom(
            "import-error",
            rf"cannot import name '\w+' from '(?P<name>{_STANDARD})' \((?!.*/lib/python)/[^)]+\)"
            rf"|partially initialized module '(?P<other>{_STANDARD})' has no attribute",
            "a file of the VM called {name}{other}.py hides that module of Python's standard library",
            "rename it",
        ),
        Symptom(
            "import-error",
            r"ImportError: (?P<text>.+circular import.*)",
            "two modules import each other: {text}",
            "import one of them inside the function that uses it",
        ),
        Symptom(
            "no-vmsdk",
            r"cannot import name '(?P<name>\w+)' from 'vmsdk|module 'vmsdk' has no attribute '(?P<other>\w+)",
            "the plugin's vmsdk has no {name}{other}: it is older than the VM, or a file next to the VM is"
            " called vmsdk.py",
            "{python} -m pip install --upgrade vmsdk, or rename the file",
        ),
        Symptom(
            "missing-module",
            r"(?:PackageNotFoundError: (?:No package metadata was found for )?|DistributionNotFound: The ')"
            r"(?P<dist>[^'\s]+)(?:'|$)",
            "the package {dist} is not installed for {python}",
            "{python} -m pip install {package}; if it is the VM's own, its folder in place of its name",
        ),
        Symptom(
            "missing-module",
            r"ZoneInfoNotFoundError: '?(?P<name>.*?)'?$",
            "this machine has no table of time zones: {name}",
            "{python} -m pip install tzdata, or use UTC",
        ),
        Symptom(
            "bytecode",
            r"bad magic number in '|\bbad marshal data|\bmarshal data too short",
            "compiled Python code is damaged, or of another version of Python",
            "delete the __pycache__ folders and .pyc files of the VM and its packages",
        ),
        Symptom(
            "import-error",
            r"attempted relative import",
            "the VM's file belongs to a package, and is imported without it",
            "give its folder an __init__.py, or install it as a module: vmsdk install PACKAGE.MODULE",
        ),
        Symptom(
            "processor",
            r"CPU ISA level is lower than required|built with baseline optimizations|microarchitecture"
            r" support",
            "it is built for a newer processor than this machine's",
            "build or install it for this processor, such as with GOAMD64=v1 or -march=x86-64",
        ),
        Symptom(
            "sandbox",
            r"Address family not supported",
            "it may not use this kind of socket",
            "add AF_UNIX, AF_INET and AF_INET6 to RestrictAddressFamilies= in the node's unit; if it uses"
            " IPv6, this machine may have none",
            wide=True,
        ),
        Symptom(
            "sandbox",
            r"cannot enable executable stack|write\+execute memory",
            "the system's security settings forbid what it does",
            "see MemoryDenyWriteExecute= in the node's unit; dmesg shows what SELinux and AppArmor forbid",
        ),
        Symptom(
            "sandbox",
            r"(?:(?<=PermissionError)|(?<=OSError)): \[Errno 1\] Operation not permitted(?:: '.+)?$"
            r"|[\w'\"]: [Oo]peration not permitted(?: \(os error 1\))?$|EPERM: operation not permitted",
            "it needs root for what it does, or the system's security settings forbid it",
            "leave out what only root may do, such as chown, setuid, mount and raw sockets; otherwise see"
            " SystemCallFilter= and CapabilityBoundingSet= in the node's unit, and dmesg for what SELinux"
            " and AppArmor forbid",
            wide=True,
        ),
        Symptom(
            "debugger",
            r"\bBdbQuit\b",
            "its code stops in a debugger, and a plugin has no terminal",
            "remove breakpoint() and pdb from the VM; docs/debugging.md shows how to debug it",
        ),
        Symptom(
            "stdin",
            r"EOFError: EOF when reading a line",
            "it asks for input, and a plugin has no terminal: its standard input is empty",
            "take it from the chain's config, which initialize gets, or from a file",
        ),
        Symptom(
            "import-error",
            r"ImportError: (?P<text>.+)",
            "an import fails: {text}",
            "check the versions that are installed: {python} -m pip check",
        ),
        Symptom(
            "syntax-error",
            # Pythons before 3.11.4 raise ValueError for a zero byte.
            r"(?P<kind>SyntaxError|IndentationError|TabError|ValueError(?=: source code)): (?P<text>.+)",
            "{kind}: {text}",
            "fix that line; if it is right, the plugin's Python is too old: {python} --version",
        ),
        Symptom(
            "interpreter",
            r"env: (?:can't execute )?\W?(?P<name>[\w./+ -]+)\W?: (?:No such file|Permission denied)",
            "env can't run {name}: a plugin has no PATH, so only /bin and /usr/bin are searched",
            "write its absolute path into the #! line (with arguments: env -S)",
        ),
        Symptom(
            "no-source",
            r"can't open file '(?P<name>[^']+)'",
            "Python can't open {name}",
            "check that it exists, and that the node's user can read it",
        ),
        Symptom(
            "interpreter",
            r": (?P<name>source|declare|shopt|pushd|popd|mapfile|\[\[): not found$|"
            r": (?P<text>set: Illegal option -o pipefail|Bad substitution)$",
            "its script is written for bash, and /bin/sh is another shell here: {name}{text}",
            "begin it with #!/bin/bash",
        ),
        Symptom(
            "command",
            r"^(?:\S+: )*(?:line )?(?:\d+: )?(?P<name>[^\s:]+): (?:command |Permission )?(?:not"
            r" found|denied)$",
            *_COMMAND,
        ),
        Symptom(
            "command",
            r"^(?:\S+: (?:line )?\d+: )(?:exec: )?(?P<name>/[^\s:]+): "
            r"(?:cannot execute\b.*|Exec format error|No such file or directory)$",
            *_COMMAND,
        ),
        Symptom(
            "missing-file",
            r": cd: (?:can't cd to )?(?P<name>[^\n:]+?)(?:: (?:No such file or directory|Not a directory))?$"
            r"|: cannot (?:open|create) (?P<other>[^\n:]+): (?:No such file|Directory nonexistent)$"
            r"|Unable to access jarfile '?(?P<third>[^\n']+)'?$|Cannot find module '(?P<fourth>/[^\n']*)'",
            "it needs {name}{other}{third}{fourth}, which does not exist: a plugin runs in the node's"
            " working directory",
            "create it, or correct the path, which must be absolute",
        ),
        Symptom(
            "missing-file",
            r"Cannot find module '(?P<name>\.[^\n']*)'",
            "it needs {name}, which does not exist beside the file that asks for it",
            "create it, or correct the path: the stack shows which file asks for it",
        ),
        Symptom(
            "missing-module",
            r"Cannot find (?:module|package) '(?P<dist>(?:@[^\n'/]+/)?[\w~-][^\n'/]*)",
            "the npm package {dist} is missing where the node starts the VM",
            "npm install {package} in the VM's folder",
            wide=True,
        ),
        Symptom(
            "watches",
            r"inotify (?:watch|instance) limit reached|OS file watch limit reached",
            "its user has reached the system's limit of watched files",
            "sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=1024",
        ),
        Symptom(
            "too-many-files",
            r"Too many open files",
            "it can't open as many files as it needs",
            "raise the limit: LimitNOFILE= in the node's unit, or ulimit -n",
        ),
        Symptom(
            "locked",
            r"(?:\b[Ll]ock \S+|\bLOCK\b|lockf?\b).{0,60}Resource temporarily unavailable|database is locked",
            "another process uses its database",
            "stop that process: fuser FILE names it; two plugins need two folders",
        ),
        Symptom(
            "thread-limit",
            r"can't start new thread|pthread_create failed|[Ff]ailed to create (?:new OS"
            r" )?thread|newosproc|[Cc]annot fork|Resource temporarily unavailable",
            "it can't start a thread: the user or the cgroup has reached its limit of threads",
            "raise LimitNPROC= or TasksMax= in the node's unit (ulimit -u, the cgroup's pids.max); check"
            " memory limits, too",
        ),
        Symptom(
            "memory",
            r"MemoryError|[Cc]annot allocate memory|out of memory|std::bad_alloc",
            "it runs out of memory",
            "raise the limit: --memory-limit of vmsdk install, LimitAS=, LimitDATA= or MemoryMax= of the"
            " node's unit",
        ),
        Symptom(
            "disk-full",
            r"No space left on device|Disk quota exceeded",
            "a disk is full",
            "free space: df -h, and df -i for inodes; the temporary directory counts, too",
        ),
        Symptom(
            "file-size",
            r"File too large",
            "it writes a file beyond the limit",
            "raise the limit: LimitFSIZE= in the node's unit, or ulimit -f",
        ),
        Symptom(
            "read-only",
            r"Read-only file system(?:: '(?P<name>[^']*)')?",
            "it writes to a read-only file system: {name}",
            "write below chain_data_dir, which Initialize gets",
        ),
        Symptom(
            "environment",
            r"\bos(?:\.py|>)\", line \d+, in __getitem__\n(?:.*\n){0,2}?.*KeyError: '(?P<name>[^']+)'",
            f"it needs the variable {{name}}, but {_VARIABLES}",
            _SET,
        ),
        Symptom(
            "environment",
            r"(?P<name>\b\w*HOME)\W? (?:(?:environment )?variable )?(?:is )?(?:not (?:set|defined)|unset)"
            r"|\b(?P<other>[A-Z_][A-Z0-9_]*): (?:unbound variable|parameter (?:null or )?not set)",
            f"it needs the variable {{name}}{{other}}, but {_VARIABLES}",
            _SET,
            wide=True,
        ),
        Symptom(
            "environment",
            r"Could not determine home directory",
            f"it needs HOME, but {_VARIABLES}",
            _SET,
            wide=True,
        ),
        Symptom(
            "environment",
            r"required env var missing",
            "it does not find AVALANCHE_VM_RUNTIME_ENGINE_ADDR, which the node sets",
            "let the script that starts it pass its environment on",
        ),
        Symptom(
            "encoding",
            r"Unicode(?:En|De)codeError: 'ascii'",
            f"it uses ASCII for text, since {_VARIABLES}, so no LANG",
            "name the encoding when opening files, or start Python with -X utf8",
        ),
        Symptom(
            "locale",
            r"unsupported locale setting",
            f"it needs a locale that this machine does not have; {_VARIABLES}, so no LANG",
            "set no locale, or install it: apt install locales, locale-gen",
        ),
        Symptom(
            "proxy",
            r"HTTP proxy|[Pp]roxy (?:CONNECT|connect|returned|server)|via proxy",
            "a proxy keeps it from reaching the node at 127.0.0.1",
            "unset http_proxy and https_proxy for the plugin, or set no_proxy=127.0.0.1",
        ),
        Symptom(
            "permission",
            r"unable to open database file|attempt to write a readonly database",
            "it can't write its SQLite file: the folder doesn't exist, or file or folder belong to another"
            " user",
            "use an absolute path below chain_data_dir, which Initialize gets",
        ),
        Symptom(
            "permission",
            r"No usable temporary directory",
            "it can't write to any temporary directory",
            "let the node's user write to /tmp, or set PrivateTmp=yes in its unit; df -h: is the disk full?",
        ),
        Symptom(
            "permission",
            r"PermissionError: .*?(?:: '(?P<name>[^']+)')",
            "its user lacks permission for {name}",
            "give the node's user access, or write below chain_data_dir, which Initialize gets",
        ),
        Symptom(
            "missing-file",
            r"FileNotFoundError: .*?: '(?P<name>[^/'][^']*)'",
            "it looks for {name} in the working directory or on the PATH: a plugin runs in the node's"
            " working directory, and has no PATH",
            "use an absolute path, such as one relative to __file__",
        ),
        Symptom(
            "missing-file",
            r"FileNotFoundError: .*?: '(?P<name>/[^']*)'",
            "it needs {name}, which does not exist",
            "create it, or correct the path",
        ),
        Symptom(
            "environment",
            r"uid not found|No username set in the environment",
            "it asks for its user's name, and the user has no entry in /etc/passwd, nor does a node set USER",
            "don't ask (getpass.getuser, os.getlogin), or add the user: useradd",
        ),
        Symptom(
            "environment",
            r"OSError: \[Errno (?:6\] No such device or address|25\] Inappropriate ioctl for device)$",
            "it asks for its terminal or for who is logged in, and a plugin has neither",
            "don't ask (os.getlogin, os.get_terminal_size)",
        ),
        Symptom(
            "disk",
            r"(?P<text>\[Errno 5\] .+|\[Errno 116\] .+)|Stale file handle",
            "a disk or a network mount fails: {text}",
            "see the output of dmesg; check the disk, or mount it again",
            wide=True,
        ),
        Symptom(
            "network",
            r"gaierror|failure in name resolution|Name or service not known|[Cc]ould not resolve host",
            "it can't look up the name of a host",
            "let the VM start without it; the node's unit may forbid it (IPAddressDeny=, PrivateNetwork=)",
            wide=True,
        ),
        Symptom(
            "network",
            r"CERTIFICATE_VERIFY_FAILED",
            f"it can't verify a server's certificate; {_VARIABLES}, so no SSL_CERT_FILE",
            "install the system's ca-certificates, or vmsdk install --env SSL_CERT_FILE=PATH",
            wide=True,
        ),
        Symptom(
            "network",
            r"Error: (?P<text>.*[Cc]onnection refused.*)",
            "a service that it connects to is not running: {text}",
            "let the VM start without that service, and connect later; or start it before the node",
            wide=True,
        ),
        Symptom(
            "thread",
            r"signal only works in main thread",
            "it calls vmsdk.serve or signal.signal in a thread, and only the main thread may",
            "call it in the main thread, and start threads of the VM in initialize",
        ),
        Symptom(
            "port",
            r"[Aa]ddress already in use|[Ff]ailed to bind to address|bind: permission denied",
            "its port is in use, or reserved for root",
            "listen on 127.0.0.1:0, and let the system choose",
        ),
        Symptom(
            "listen",
            r"can't listen at (?P<text>.+)",
            "it can't listen at {text}",
            "see what the node's unit forbids (RestrictAddressFamilies=, SocketBindDeny=, SystemCallFilter=),"
            " and whether the address is this machine's: ip address show lo",
        ),
        Symptom(
            "not-a-vm",
            r"(?P<text>the class \S+ lacks .+)",
            "{text}",
            "write these methods",
        ),
        Symptom(
            "not-a-vm",
            r"(?P<text>there is no class derived from vmsdk\.ChainVM|has \d+ VMs .+"
            r"|there is no class \S+; .+)",
            "{text}",
            "name the class when installing: vmsdk install FILE.py:CLASS",
        ),
        Symptom(
            "no-source",
            r"there is no (?:file|module) (?P<name>\S+)",
            "the VM's source, {name}, does not exist",
            "install the VM again from where it is now",
        ),
        Symptom(
            "crash",
            r"Fatal Python error: (?P<text>.+)",
            "Python crashed: {text}",
            "the stack shows the extension module that crashed: upgrade or rebuild it",
        ),
        Symptom(
            "crash", r"^(?P<text>(?:panic|fatal error): .+)", "it crashed: {text}", "the stack shows where"
        ),
        Symptom(
            "crash",
            r"thread '.*' panicked at (?P<text>.+)",
            "it panicked at {text}",
            "the line is that of its source; RUST_BACKTRACE is not passed on",
        ),
        Symptom("vmsdk", r"^vmsdk: (?P<text>.+)", "{text}", ""),
    )
)
