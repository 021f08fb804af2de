"""A real Flower deployment on loopback: a throw-away environment, certificates, SuperLink, SuperNodes, one run.

Nothing here reaches beyond this machine except pip, once, to install Flower: telemetry and the update check are off,
SuperLink may not install what an app asks for, the app is a local folder and not one from Flower's hub, and proxies
and the user's own ~/.flwr are out of sight.
"""

import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOST = "127.0.0.1"
CONNECTION = "loopback"
INSTALL_TIMEOUT_S = 900
OPENSSL_TIMEOUT_S = 60
LISTEN_TIMEOUT_S = 120
SUBMIT_TIMEOUT_S = 180
POLL_S = 0.2
HANDSHAKE_TIMEOUT_S = 5
CERTIFICATE_DAYS = "2"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class DeploymentError(Exception):
    """Flower could not be installed, started or given its run; the message says which and shows its last lines."""


@dataclass(frozen=True)
class Environment:
    """An installed Flower: its programs lie in `venv`/bin."""

    venv: Path

    def program(self, name: str) -> str:
        return str(self.venv / "bin" / name)

    def version(self) -> str:
        """The version of flwr that is really there, whatever was asked for."""
        code = "import importlib.metadata as m; print(m.version('flwr'))"
        done = subprocess.run([self.program("python"), "-c", code], capture_output=True, text=True, check=True,
                              timeout=OPENSSL_TIMEOUT_S)
        return done.stdout.strip()

    def variables(self, home: Path) -> dict[str, str]:
        """The environment variables Flower runs under; none of ours but what a program needs to run."""
        kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "LD_LIBRARY_PATH") if name in os.environ}
        return kept | {
            # SuperLink and SuperNode look up their workers (flower-superexec, flwr-serverapp, ..) by name.
            "PATH": f"{self.venv / 'bin'}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(home),
            "FLWR_HOME": str(home / ".flwr"),
            "TMPDIR": str(home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "UV_OFFLINE": "1",
            "NO_COLOR": "1",
            "NO_PROXY": "*",
            "PYTHONUNBUFFERED": "1",
        }


def install(venv: Path, requirements: Path) -> Environment:
    """Make a virtual environment at `venv` with the pinned requirements, or use the one that is already there."""
    environment = Environment(venv)
    if not Path(environment.program("flower-superlink")).exists():
        commands = (
            [sys.executable, "-m", "venv", str(venv)],
            [environment.program("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
             "--requirement", str(requirements)],
        )
        for command in commands:
            _complete(command, INSTALL_TIMEOUT_S, "install flwr")
    return environment


@dataclass(frozen=True)
class Certificates:
    """A certificate authority and one server certificate for 127.0.0.1 and localhost."""

    authority: Path
    certificate: Path
    key: Path


def make_certificates(folder: Path) -> Certificates:
    """Make them with the openssl program; they live as long as `folder`."""
    folder.mkdir()
    authority_key, authority = folder / "ca.key", folder / "ca.crt"
    key, request, certificate = folder / "server.key", folder / "server.csr", folder / "server.crt"
    extensions = folder / "server.ext"
    extensions.write_text(
        f"subjectAltName = IP:{HOST}, DNS:localhost\nbasicConstraints = CA:FALSE\nextendedKeyUsage = serverAuth\n",
        encoding="ascii")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    commands = (
        ["openssl", "req", "-x509", *curve, "-days", CERTIFICATE_DAYS, "-subj", "/CN=benchmark authority",
         "-addext", "keyUsage = critical, keyCertSign, cRLSign",
         "-keyout", str(authority_key), "-out", str(authority)],
        ["openssl", "req", *curve, "-subj", f"/CN={HOST}", "-keyout", str(key), "-out", str(request)],
        ["openssl", "x509", "-req", "-in", str(request), "-CA", str(authority), "-CAkey", str(authority_key),
         "-CAcreateserial", "-days", CERTIFICATE_DAYS, "-extfile", str(extensions), "-out", str(certificate)],
    )
    for command in commands:
        _complete(command, OPENSSL_TIMEOUT_S, "make certificates")
    return Certificates(authority, certificate, key)


class Deployment:
    """One SuperLink and its SuperNodes, each with a log file in `folder`.

    Starting is all it does: whoever uses it ends every descendant of this process afterwards (`processes.end_all`).
    """

    def __init__(self, environment: Environment, folder: Path, nodes: int) -> None:
        self._environment = environment
        self._folder = folder
        self._variables = environment.variables(folder)
        self._started: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._certificates = make_certificates(folder / "certificates")
        self._port, *self._node_ports = _free_ports(1 + nodes)
        self.log = folder / "superlink.log"

    def start(self) -> None:
        """Start SuperLink, wait until it speaks TLS, then start the SuperNodes."""
        certificates = self._certificates
        self._start("superlink", [
            self._environment.program("flower-superlink"), "--host", HOST, "--port", str(self._port),
            "--ssl-ca-certfile", str(certificates.authority), "--ssl-certfile", str(certificates.certificate),
            "--ssl-keyfile", str(certificates.key), "--disable-runtime-dependency-installation",
        ])
        self._await_tls()
        for node, port in enumerate(self._node_ports):
            self._start(f"supernode-{node}", [
                self._environment.program("flower-supernode"), "--superlink", f"{HOST}:{self._port}",
                "--root-certificates", str(certificates.authority), "--host", HOST, "--port", str(port),
                "--node-config", f"node={node}",
            ])

    def submit(self, run_config: dict[str, object]) -> None:
        """Give SuperLink the app as `flwr run` does; returns when the run is accepted, not when it ends."""
        # A copy, since flwr writes beside the app it runs.
        app = self._folder / "app"
        shutil.copytree(HERE / "app", app, ignore=shutil.ignore_patterns("__pycache__"))
        home = Path(self._variables["FLWR_HOME"])
        home.mkdir(exist_ok=True)
        (home / "config.toml").write_text(
            f'[superlink]\ndefault = "{CONNECTION}"\n\n[superlink.{CONNECTION}]\n'
            f'address = "{HOST}:{self._port}"\nroot-certificates = "{self._certificates.authority}"\n',
            encoding="utf-8")
        pairs = " ".join(f'{key}="{value}"' if isinstance(value, str) else f"{key}={value}"
                         for key, value in run_config.items())
        _complete([self._environment.program("flwr"), "run", str(app), CONNECTION, "--run-config", pairs],
                  SUBMIT_TIMEOUT_S, "submit the run", self._variables, self._folder)

    def dead(self) -> str | None:
        """The name of a SuperLink or SuperNode that has ended by itself, if any has."""
        return next((name for name, process in self._started if process.poll() is not None), None)

    def last_lines(self, name: str = "superlink") -> str:
        """The end of one process's log."""
        return _tail((self._folder / f"{name}.log").read_text(encoding="utf-8", errors="replace"))

    def _start(self, name: str, command: list[str]) -> None:
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=self._folder, env=self._variables, stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=subprocess.STDOUT)
        self._started.append((name, process))

    def _await_tls(self) -> None:
        context = ssl.create_default_context(cafile=str(self._certificates.authority))
        deadline = time.monotonic() + LISTEN_TIMEOUT_S
        while time.monotonic() < deadline and self.dead() is None:
            try:
                with (socket.create_connection((HOST, self._port), timeout=HANDSHAKE_TIMEOUT_S) as plain,
                      context.wrap_socket(plain, server_hostname=HOST)):
                    return
            except ssl.SSLError as error:
                raise DeploymentError(f"the SuperLink's certificate was not accepted: {error}") from error
            except (ConnectionError, TimeoutError):
                time.sleep(POLL_S)
        raise DeploymentError(f"the SuperLink did not listen within {LISTEN_TIMEOUT_S} s:\n{self.last_lines()}")


def _free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago; all are held at once so that no two are the same."""
    held = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in held]
    for server in held:
        server.close()
    return ports


def _complete(command: list[str], timeout_s: float, purpose: str, variables: dict[str, str] | None = None,
              folder: Path | None = None) -> None:
    """Run a command to its end; anything but success is a DeploymentError with its last lines."""
    program = os.path.basename(command[0])
    try:
        done = subprocess.run(command, cwd=folder, env=variables, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=timeout_s, check=False)
    except FileNotFoundError as error:
        raise DeploymentError(f"could not {purpose}: there is no program `{program}`") from error
    except subprocess.TimeoutExpired as error:
        raise DeploymentError(f"could not {purpose}: `{program}` took more than {timeout_s} s") from error
    if done.returncode != 0:
        raise DeploymentError(f"could not {purpose}: `{program}` ended with {done.returncode}:\n"
                              f"{_tail(done.stdout + done.stderr)}")


def _tail(text: str, lines: int = 15) -> str:
    """The last lines, without the colours that Flower writes even where no terminal reads them."""
    return "\n".join(COLOUR.sub("", text).strip().splitlines()[-lines:])
