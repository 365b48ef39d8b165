"""The file system of one practice container.

Knows which files and directories a container has, and which come read-only from the host. Never
knows how the container is started.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .containers import ContainerSpec

__all__ = ["IMAGES", "WEB_ROOT", "Image", "Layout", "build", "find", "main_of", "web_port"]

WEB_ROOT = "usr/share/nginx/html"
"""The web server's directory, below the container's root."""

_DIRECTORIES = (
    ".old boot dev etc/default etc/skel home media mnt opt proc root run/lock srv sys tmp "
    "usr/include usr/local/bin usr/local/etc usr/local/lib usr/local/sbin usr/local/share "
    "usr/share usr/src var/cache var/lib var/log/amazon/ssm var/mail var/spool var/tmp "
    "managed-agents/execute-command"
).split()
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "libexec")
_SHARED = (
    "etc/alternatives",
    "etc/ssl/certs",
    "nix/store",
    "usr/share/awk",
    "usr/share/ca-certificates",
    "usr/share/misc",
    "usr/share/perl",
    "usr/share/perl5",
    "usr/share/python3",
    "usr/share/terminfo",
    "usr/share/zoneinfo",
)
_COPIED = ("etc/ld.so.cache", "etc/ld.so.conf", "etc/inputrc", "etc/protocols", "etc/services")

_SERVER = "/usr/sbin/nginx"

_PAGE = """<!DOCTYPE html>
<html>
<head>
<title>Welcome to nginx!</title>
</head>
<body>
<h1>Welcome to nginx!</h1>
<p>This page is served from /usr/share/nginx/html of a practice container.</p>
</body>
</html>
"""
_NGINX_CONF = """user  root;
master_process  off;
error_log  /var/log/nginx/error.log notice;
pid        /run/nginx.pid;
events { worker_connections  1024; }
http {
    include       /etc/nginx/mime.types;
    default_type  application/octet-stream;
    access_log    /var/log/nginx/access.log;
    include       /etc/nginx/conf.d/*.conf;
}
"""
_SITE_CONF = """server {
    listen       80;
    server_name  localhost;
    location / {
        root   /usr/share/nginx/html;
        index  index.html index.htm;
    }
}
"""


@dataclass(frozen=True, slots=True)
class Image:
    """What sets one kind of container apart from another.

    Attributes:
        name: as a task definition names it.
        environment: variables of the image.
        workdir: where commands start.
        files: text files by their path below the root; one that begins with ``->`` is a link.
        main: its default main process; empty for one that only waits.
        port: where that listens; 0 for nowhere.
    """

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    files: dict[str, str] = field(default_factory=dict)
    main: tuple[str, ...] = ()
    port: int = 0

    @property
    def is_web_server(self) -> bool:
        """Whether the sandbox serves this container's web root."""
        return f"{WEB_ROOT}/index.html" in self.files


NGINX = Image(
    "public.ecr.aws/nginx/nginx:1.27",
    {"NGINX_VERSION": "1.27.3", "PKG_RELEASE": "1~bookworm"},
    "/",
    {
        f"{WEB_ROOT}/index.html": _PAGE,
        f"{WEB_ROOT}/50x.html": "<!DOCTYPE html>\n<title>Error</title>\n<h1>Error</h1>\n",
        "etc/nginx/nginx.conf": _NGINX_CONF,
        "etc/nginx/conf.d/default.conf": _SITE_CONF,
        "etc/nginx/mime.types": "types {\n"
        "    text/html        html htm;\n"
        "    text/css         css;\n"
        "    text/plain       txt;\n"
        "    image/png        png;\n"
        "    application/json json;\n"
        "    application/javascript js;\n}\n",
        "var/log/nginx/access.log": "->/dev/stdout",
        "var/log/nginx/error.log": "->/dev/stderr",
        "var/lib/nginx/README": "What the server keeps while it runs.\n",
        "docker-entrypoint.sh": '#!/bin/sh\nset -e\nexec "$@"\n',
        "docker-entrypoint.d/README": "Scripts here run before the server starts.\n",
    },
    ("nginx", "-g", "daemon off;"),
    80,
)
SIDECAR = Image("public.ecr.aws/docker/library/busybox:1.36")
WORKER = Image(
    "123456789012.dkr.ecr.us-east-1.amazonaws.com/worker:2024-10-15",
    {"QUEUE": "jobs", "CONCURRENCY": "4"},
    "/app",
    {
        "app/README.md": "# worker\n\nTakes jobs from a queue.\n",
        "app/config.json": '{"queue": "jobs", "concurrency": 4}\n',
        "app/logs/worker.log": "".join(
            f"2024-10-15T12:{n // 60:02d}:{n % 60:02d}Z "
            f"{'ERROR job failed' if n % 37 == 0 else 'INFO job done'}"
            f" id={n:05d} ms={(n * 7919) % 900 + 20}\n"
            for n in range(600)
        ),
    },
)
PLAIN = Image("ecs-exec-magic/small")
IMAGES = {"nginx": NGINX, "sidecar": SIDECAR, "worker": WORKER}
_KINDS = (("nginx", NGINX), ("busybox", SIDECAR), ("alpine", SIDECAR), ("worker", WORKER))


def find(name: str) -> Image:
    """The built-in image that stands in for one that a task definition names."""
    repository = name.rpartition("@")[0] or name
    last = repository.rpartition("/")[2].partition(":")[0]
    return next((image for word, image in _KINDS if word in last), PLAIN)


def _asks_for_server(spec: ContainerSpec, image: Image) -> bool:
    """Whether the container is to run its image's own server."""
    if not image.is_web_server:
        return False
    if spec.entry_point is not None:
        return False
    return not spec.command or spec.command[0] == image.main[0]


def main_of(spec: ContainerSpec, image: Image, isolated: bool) -> tuple[str, ...] | None:
    """The main process of a container of this host, None for one that only waits.

    A web server whose program this host lacks, or that could not write where it must, is stood in
    for: see :func:`web_port`.
    """
    if _asks_for_server(spec, image):
        if not isolated or spec.read_only or not os.access(_SERVER, os.X_OK):
            return None
        return spec.command or image.main
    if not spec.has_own_main:
        return image.main or None
    return (*(spec.entry_point or ()), *(spec.command or ()))


def web_port(spec: ContainerSpec, image: Image) -> int | None:
    """Where the stand-in for a web server is to listen, None where there is nothing to serve."""
    if not _asks_for_server(spec, image):
        return None
    return spec.ports[0] if spec.ports else image.port


@dataclass(frozen=True, slots=True)
class Layout:
    """A root directory that was built, and what must be bound into it, read-only.

    Attributes:
        root: the directory on the host.
        binds: pairs of a host path and its place below the root, both absolute.
    """

    root: Path
    binds: tuple[tuple[str, str], ...]


def _etc(hostname: str, address: str) -> dict[str, str]:
    return {
        "etc/hostname": f"{hostname}\n",
        "etc/hosts": f"127.0.0.1 localhost\n{address} {hostname}\n",
        "etc/resolv.conf": "search ec2.internal\nnameserver 10.0.0.2\n",
        "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n"
        "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
        "nginx:x:101:101:nginx:/nonexistent:/bin/false\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        "etc/group": "root:x:0:\ndaemon:x:1:\ntty:x:5:\nnginx:x:101:\nnogroup:x:65534:\n",
        "etc/shells": "/bin/sh\n/bin/bash\n",
        "etc/profile": 'PS1="# "\nexport PATH\n',
        "etc/os-release": 'PRETTY_NAME="Practice container"\nNAME="Practice"\nID=practice\n',
        "etc/debian_version": "12.8\n",
        "root/.profile": "",
        "var/log/amazon/ssm/amazon-ssm-agent.log": "INFO [ssm-agent-worker] started\n",
    }


def build(root: Path, image: Image, hostname: str, address: str, workdir: str = "") -> Layout:
    """Fill ``root``, keeping what is already there, and say what to bind into it."""
    for name in _DIRECTORIES:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("tmp", "var/tmp"):
        (root / name).chmod(0o1777)
    (root / "root").chmod(0o700)
    for path, text in {**_etc(hostname, address), **image.files}.items():
        file = root / path
        if not file.exists() and not file.is_symlink():
            file.parent.mkdir(parents=True, exist_ok=True)
            if text.startswith("->"):
                file.symlink_to(text[2:])
                continue
            file.write_text(text)
            if path.endswith(".sh"):
                file.chmod(0o755)
    binds: list[tuple[str, str]] = []
    for name in (*_SYSTEM, *(f"usr/{name}" for name in _SYSTEM)):
        host = Path("/", name)
        if host.is_symlink():
            if not (root / name).is_symlink():
                (root / name).symlink_to(os.readlink(host))
        elif host.is_dir():
            binds.append((str(host), f"/{name}"))
    binds += [(f"/{name}", f"/{name}") for name in _SHARED if Path("/", name).is_dir()]
    for _host, place in binds:
        (root / place[1:]).mkdir(parents=True, exist_ok=True)
    for name in _COPIED:
        source = Path("/", name)
        if source.is_file() and not (root / name).exists():
            shutil.copyfile(source, root / name)
    (root / (workdir or image.workdir).lstrip("/")).mkdir(parents=True, exist_ok=True)
    return Layout(root, tuple(binds))
