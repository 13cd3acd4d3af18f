"""What the cases share: servers on 127.0.0.1, configurations, and the program as a child process."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import socketserver
import ssl
import struct
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field

TARGET = pathlib.Path(__file__).resolve().parents[2] / "target" / "debug"
PROGRAM = os.environ.get("ORTHANC_GCP", str(TARGET / "orthanc-gcp"))
PLUGIN = os.environ.get("ORTHANC_GCP_PLUGIN", str(TARGET / "libOrthancGoogleCloudPlatform.so"))
DICOMWEB = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
# Generous: the machine may be busy.
LIMIT = 120

JSON = [("Content-Type", "application/json")]
DICOM_JSON = [("Content-Type", "application/dicom+json")]
TOKEN = {"access_token": "ya29.a-token-for-these-tests-alone", "expires_in": 3599, "token_type": "Bearer"}
FOUR_NAMES = {"Project": "project-1", "Location": "europe-west2", "Dataset": "dataset", "DicomStore": "store"}
USER = {"type": "authorized_user", "client_id": "client", "client_secret": "client-secret", "refresh_token": "refresh"}
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"


@dataclass
class Request:
    method: str
    target: str
    headers: dict
    body: bytes


@dataclass
class Reply:
    status: int = 200
    headers: list = field(default_factory=list)
    body: bytes = b""

    def encoded(self, method):
        lines = [f"HTTP/1.1 {self.status} {http.client.responses.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines += [f"Content-Length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode("latin-1") + (b"" if method == "HEAD" else self.body)


def token_reply(_request=None):
    """A token, as every kind of token endpoint gives it."""
    return Reply(200, JSON + [("Metadata-Flavor", "Google")], json.dumps(TOKEN).encode())


class Server:
    """An HTTP/1.1 server on threads of this process; `answer(request)` returns a `Reply`."""

    def __init__(self, answer, context=None):
        self.requests = []
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                with contextlib.suppress(OSError, ValueError):
                    if context:
                        self.connection = context.wrap_socket(self.request, server_side=True)
                        self.rfile = self.connection.makefile("rb")
                    while request := read_request(self.rfile):
                        outer.requests.append(request)
                        self.connection.sendall(answer(request).encoded(request.method))

        class Listener(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 128

        self.listener = Listener(("127.0.0.1", 0), Handler)
        self.port = self.listener.server_address[1]
        self.scheme = "https" if context else "http"
        threading.Thread(target=self.listener.serve_forever, daemon=True).start()

    def url(self, path="/", host=None):
        return f"{self.scheme}://{host or '127.0.0.1'}:{self.port}{path}"

    def close(self):
        self.listener.shutdown()
        self.listener.server_close()


def read_request(stream):
    line = stream.readline().decode("latin-1").split()
    if len(line) < 2:
        return None
    headers = {}
    while text := stream.readline().decode("latin-1").strip():
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    if "chunked" in headers.get("transfer-encoding", ""):
        body = b""
        while size := int(stream.readline().split(b";")[0], 16):
            body += stream.read(size)
            stream.readline()
        stream.readline()
    else:
        body = stream.read(int(headers.get("content-length", 0)))
    return Request(line[0], line[1], headers, body)


class NameServer:
    """A DNS server for one name (RFC 1035), or one that never answers."""

    def __init__(self, known=None):
        self.asked = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for last in range(1, 251):
            self.address = f"127.54.54.{last}"
            with contextlib.suppress(OSError):
                self.socket.bind((self.address, 53))
                break
        threading.Thread(target=self.serve, args=(known,), daemon=True).start()

    def serve(self, known):
        with contextlib.suppress(OSError):
            while True:
                query, client = self.socket.recvfrom(4096)
                at, labels = 12, []
                while length := query[at]:
                    labels.append(query[at + 1 : at + 1 + length].decode("latin-1"))
                    at += 1 + length
                name, (kind,) = ".".join(labels).lower(), struct.unpack_from(">H", query, at + 1)
                self.asked.append((name, kind))
                if known is None:
                    continue
                question = query[12 : at + 5]
                answer = b""
                if name == known and kind == 1:
                    answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton("127.0.0.1")
                code = 0x8180 if name == known else 0x8183
                head = query[:2] + struct.pack(">HHHHH", code, 1, 1 if answer else 0, 0, 0)
                self.socket.sendto(head + question + answer, client)

    def close(self):
        self.socket.close()


@dataclass
class Run:
    code: int
    text: str


class Gateway:
    """`orthanc-gcp gateway` as a child process."""

    def __init__(self, process, log):
        self.process, self.log_file = process, log
        until(lambda: "served at http" in self.log() or process.poll() is not None, "the gateway serves")
        found = re.search(r"served at http://127\.0\.0\.1:(\d+)/", self.log())
        assert found, f"the gateway does not serve: {self.log()}"
        self.port = int(found[1])

    def log(self):
        return self.log_file.read_text(errors="replace")

    def ask(self, method, target, headers=(), body=b""):
        return ask(self.port, method, target, headers, body)


def ask(port, method, target, headers=(), body=b""):
    """Sends one request over a connection of its own; returns a `Reply`, whose status is 0 if nothing came."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    answer = b""
    with socket.create_connection(("127.0.0.1", port), LIMIT) as connection, contextlib.suppress(OSError):
        connection.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        while received := connection.recv(1 << 16):
            answer += received
    head, _, rest = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    fields = [tuple(part.strip() for part in line.partition(":")[::2]) for line in lines[1:]]
    return Reply(int(lines[0].split()[1]) if head else 0, [(name.lower(), value) for name, value in fields], rest)


def until(condition, what):
    """Waits until a condition holds."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.02)


class Site:
    """What one case uses. Everything ends with it."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="report-"))
        self.failures, self.expectations, self.closers, self.count = [], 0, [], 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for close in reversed(self.closers):
            close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def expect(self, condition, words):
        self.expectations += 1
        if not condition:
            self.failures.append(str(words)[:600])

    def server(self, answer=token_reply, context=None):
        server = Server(answer, context)
        self.closers.append(server.close)
        return server

    def name_server(self, known=None):
        server = NameServer(known)
        self.closers.append(server.close)
        return server

    def write(self, name, content, mode=0o600):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return str(path)

    def shell(self, line):
        """Runs a command in the site's folder; returns its standard output."""
        return subprocess.run(line, shell=True, cwd=self.folder, check=True, capture_output=True).stdout.decode()

    def private_key(self):
        return self.shell("openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 2>/dev/null")

    def configuration(self, account=None, section=None, top=None, name="a"):
        """An Orthanc configuration with one account; returns its path."""
        accounts = {name: {**FOUR_NAMES, **(account or {})}}
        self.count += 1
        document = {"GoogleCloudPlatform": {"Accounts": accounts, **(section or {})}, **(top or {})}
        return self.write(f"orthanc-{self.count}.json", json.dumps(document))

    def user_account(self, token_url, top=None):
        """The configuration of an account with a user's credential, whose token comes from there."""
        credential = {"CredentialsFile": self.write("user.json", json.dumps(USER))}
        return self.configuration(credential, {"TokenUri": token_url}, top)

    def program(self, *arguments, env=None, wrap=()):
        clean = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        done = subprocess.run(
            [*wrap, PROGRAM, *arguments], env={**clean, **(env or {})}, capture_output=True, timeout=LIMIT
        )
        return Run(done.returncode, (done.stdout + done.stderr).decode(errors="replace"))

    def token(self, configuration, env=None, wrap=()):
        return self.program("token", "--config", configuration, "a", env=env, wrap=wrap)

    def check(self, configuration, env=None):
        return self.program("check", configuration, env=env)

    def gateway(self, configuration, *arguments):
        log = self.folder / "gateway.log"
        listen = ["--listen", "127.0.0.1:0", "--config", configuration, *arguments]
        with open(log, "wb") as file:
            child = subprocess.Popen([PROGRAM, "gateway", *listen], stdout=file, stderr=file)
        self.closers.append(lambda: (child.kill(), child.wait()))
        return Gateway(child, log)

    def gateway_before(self, store, *arguments, account=None):
        """A gateway whose account `a` is this store, without a credential."""
        server = self.server(store)
        account = {"AccessToken": "none", **(account or {})}
        return self.gateway(self.configuration(account, {"BaseUrl": server.url("/v1/")}), *arguments)

    def orthanc(self, document):
        """A real Orthanc with both plugins; returns its port and a function that reads its log."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        database = str(self.folder / "database")
        settings = {
            "HttpPort": port,
            "DicomServerEnabled": False,
            "StorageDirectory": database,
            "IndexDirectory": database,
            "Plugins": [DICOMWEB, PLUGIN],
            **document,
        }
        log = self.folder / "orthanc.log"
        with open(log, "wb") as file:
            start = ["Orthanc", "--verbose", self.write("real-orthanc.json", json.dumps(settings))]
            child = subprocess.Popen(start, stdout=file, stderr=file)
        self.closers.append(lambda: (child.terminate(), child.wait()))

        def said():
            return log.read_text(errors="replace")

        until(lambda: "Orthanc has started" in said() or child.poll() is not None, "Orthanc starts")
        return port, said

    def mounted(self, resolv_conf, hosts):
        """The words that run a command with these two files in the place of the machine's."""
        script = "".join(
            f"mount --bind {self.write(name, content, 0o644)} /etc/{name} && "
            for name, content in (("resolv.conf", resolv_conf), ("hosts", hosts))
        )
        root = [] if os.geteuid() == 0 else ["sudo", "--preserve-env"]
        return [*root, "unshare", "--mount", "--propagation=private", "sh", "-c", script + 'exec "$@"', "sh"]


def certificate(site, name, key="rsa:2048", leaf="rsa:2048"):
    """A root and a certificate for `localhost` below it, as NAME-root.pem, NAME.pem and NAME.key."""

    def made(kind):
        return f"ec -pkeyopt ec_paramgen_curve:{kind[3:]}" if kind.startswith("ec:") else kind

    site.write(f"{name}.ext", "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
    site.shell(
        f"openssl req -x509 -newkey {made(key)} -nodes -keyout {name}-root.key -out {name}-root.pem -days 30"
        f" -subj '/CN=Root {name}' 2>/dev/null && "
        f"openssl req -new -newkey {made(leaf)} -nodes -keyout {name}.key -out {name}.csr -subj /CN=localhost"
        f" 2>/dev/null && "
        f"openssl x509 -req -in {name}.csr -CA {name}-root.pem -CAkey {name}-root.key -CAcreateserial -days 30"
        f" -out {name}.pem -extfile {name}.ext 2>/dev/null"
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(site.folder / f"{name}.pem", site.folder / f"{name}.key")
    return context


def element(group, number, representation, value):
    """A data element in Explicit VR Little Endian (PS3.5 section 7.1.2)."""
    value = value.encode() if isinstance(value, str) else value
    value += (b"\0" if representation in ("UI", "OB") else b" ") * (len(value) % 2)
    length = b"\0\0" + struct.pack("<I", len(value)) if representation == "OB" else struct.pack("<H", len(value))
    return struct.pack("<HH", group, number) + representation.encode() + length + value


def dicom(study, series, instance):
    """The smallest DICOM file that a store can name."""
    meta = (
        element(2, 1, "OB", b"\0\1")
        + element(2, 2, "UI", SECONDARY_CAPTURE)
        + element(2, 3, "UI", instance)
        + element(2, 0x10, "UI", EXPLICIT_LITTLE)
    )
    data = (
        element(8, 0x16, "UI", SECONDARY_CAPTURE)
        + element(8, 0x18, "UI", instance)
        + element(0x20, 0xD, "UI", study)
        + element(0x20, 0xE, "UI", series)
    )
    return bytes(128) + b"DICM" + element(2, 0, "UL", struct.pack("<I", len(meta))) + meta + data


STOW = [("Content-Type", 'multipart/related; type="application/dicom"; boundary=edge')]


def multipart(*files):
    parts = [b"--edge\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n" for file in files]
    return b"".join(parts) + b"--edge--\r\n"


def instances_in(body):
    """The SOP Instance UIDs (0008,0018) of the files in a STOW request."""
    return [uid.decode() for uid in re.findall(rb"\x08\0\x18\0UI..([0-9.]+)", body, re.DOTALL)]


def uid(value):
    return {"vr": "UI", "Value": [value]}


def stow_answer(body, refused=(), reason=0xA900):
    """What a store answers that takes every instance but those in `refused` (PS3.18 section 10.5.3)."""
    stored, failed = [], []
    for instance in instances_in(body):
        item = {"00081150": uid(SECONDARY_CAPTURE), "00081155": uid(instance)}
        if instance in refused:
            failed.append({**item, "00081197": {"vr": "US", "Value": [reason]}})
        else:
            stored.append(item)
    document = {}
    if stored:
        document["00081199"] = {"vr": "SQ", "Value": stored}
    if failed:
        document["00081198"] = {"vr": "SQ", "Value": failed}
    return Reply(409 if failed and not stored else 202 if failed else 200, DICOM_JSON, json.dumps(document).encode())


def store(request):
    """A store that takes everything and holds nothing."""
    return stow_answer(request.body) if request.method == "POST" else Reply(200, DICOM_JSON, b"[]")
